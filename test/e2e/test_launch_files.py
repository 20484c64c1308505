# SPDX-License-Identifier: Apache-2.0
"""Every launch file starts its node and ends with it; the documents name no other arguments."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip('rclpy', reason='needs ROS 2')

import rclpy
from lifecycle_msgs.srv import GetState
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

from mast3r_ros.ros import doctor
from mast3r_ros.ros.launch_arguments import PERCEPTION, replay_arguments

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / 'launch').glob('*.launch.py'))
DOCUMENTS = [ROOT / 'README.md', *sorted((ROOT / 'docs').glob('*.md'))]
PRESETS = [path for path in FILES if path.name != 'replay.launch.py']
NETWORKS = [path for path in PRESETS if path.name != 'stereo_geometric.launch.py']
PROGRAM = ROOT / 'test' / 'support' / 'launch_program.py'
DEADLINE_S = 60.0
END_S = 5.0
DOMAIN = 1 + (os.getpid() + 50) % 100


def name_of(path):
    return path.name


@pytest.fixture
def launch():
    """Ask for what launches."""
    pytest.importorskip('launch_ros', reason='needs launch_ros')


def arguments_of(path):
    table = replay_arguments() if path.name == 'replay.launch.py' else PERCEPTION
    return {argument.name: argument for argument in table}


def documented_commands():
    """Return (file, arguments) of every launch command in the documents."""
    found = []
    for document in DOCUMENTS:
        text = document.read_text(encoding='utf-8').replace('\\\n', ' ')
        for name, words in re.findall(r'ros2 launch mast3r_ros (\S+)([^\n`]*)', text):
            found.append((name, re.findall(r'(\w+):=', words)))
    return found


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_a_launch_file_is_python_that_describes_a_launch(path):
    code = compile(path.read_text(encoding='utf-8'), str(path), 'exec', ast.PyCF_ONLY_AST)
    functions = [node.name for node in code.body if isinstance(node, ast.FunctionDef)]
    assert functions == ['generate_launch_description']


@pytest.mark.parametrize('path', FILES, ids=name_of)
def test_a_launch_file_names_a_preset_that_is_there(path):
    presets = re.findall(r"'(\w+\.yaml)'", path.read_text(encoding='utf-8'))
    assert [(ROOT / 'config' / name).is_file() for name in presets] == [True]


def test_every_documented_launch_command_can_be_given():
    commands = documented_commands()
    assert len(commands) >= 3
    for name, given in commands:
        assert ROOT / 'launch' / name in FILES
        assert set(given) <= set(arguments_of(ROOT / 'launch' / name))


def test_the_documents_list_every_launch_file_and_argument_with_its_default():
    text = (ROOT / 'docs' / 'launch.md').read_text(encoding='utf-8')
    rows = re.findall(r'^\| `([\w.]+)` \| (.*) \|$', text, re.MULTILINE)
    files = {name for name, _ in rows if name.endswith('.launch.py')}
    assert files == {path.name for path in FILES}
    expected = {
        item.name: f'{f"`{item.default}`" if item.default else ""} | {item.meaning}'.lstrip()
        for item in [*replay_arguments(), *PERCEPTION]
    }
    assert {name: rest.lstrip() for name, rest in rows if name not in files} == expected


class Launched:
    """A running launch file in a session of its own, like a terminal's; for a with-statement."""

    def __init__(self, path, *words, environment=None):
        self.printed = ''
        self._process = subprocess.Popen(
            [sys.executable, PROGRAM, path, *words],
            env={**program_environment(), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def wait_for(self, words):
        """Wait until it has printed these words."""
        for line in self._process.stdout:
            self.printed += line
            if words in line:
                return
        pytest.fail(f'it ended before {words!r}: {self.printed}')

    def ctrl_c(self):
        """Interrupt it as a terminal does; return its exit code and how long it took."""
        start = time.monotonic()
        os.killpg(self._process.pid, signal.SIGINT)
        return *self.end(), time.monotonic() - start

    def end(self):
        """Wait for its end and return its exit code."""
        printed, _ = self._process.communicate(timeout=DEADLINE_S)
        self.printed += printed
        return (self._process.returncode,)


def program_environment():
    return {
        **os.environ,
        'ROS_DOMAIN_ID': str(DOMAIN),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'PYTHONUNBUFFERED': '1',
    }


@contextmanager
def own_node():
    """Make a node beside the launched ones, with what lets it work."""
    context = Context()
    rclpy.init(context=context, domain_id=DOMAIN)
    node = rclpy.create_node('beside', context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    try:
        yield node, executor
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.shutdown(context=context)


def wait_until_active(name='/mast3r'):
    deadline = time.monotonic() + DEADLINE_S
    with own_node() as (node, executor):
        client = node.create_client(GetState, f'{name}/get_state')
        label = None
        while label != 'active':
            assert time.monotonic() < deadline, f'{name} is {label}'
            future = client.call_async(GetState.Request())
            executor.spin_until_future_complete(future, timeout_sec=0.5)
            label = future.result().current_state.label if future.done() else 'not there'


def doctors_words(name='/mast3r'):
    """Return what ``doctor`` prints of a node, and its exit code."""
    answer = subprocess.run(
        [sys.executable, '-m', 'mast3r_ros.ros.doctor', '--node', name, '--wait', '4'],
        env=program_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    return answer.stdout, answer.returncode


def stops_cleanly(launched):
    code, taken_s = launched.ctrl_c()
    assert code == 0, launched.printed
    assert taken_s < END_S
    assert 'Traceback' not in launched.printed
    assert 'process has died' not in launched.printed


@pytest.mark.parametrize('path', PRESETS, ids=name_of)
def test_a_launched_node_is_active_and_ends_with_ctrl_c(launch, path):
    words = ('namespace:=/arm', 'name:=eye', 'engine:=geometric', 'left_image:=/rig/left/image')
    with Launched(path, *words) as launched:
        launched.wait_for('the engine is ready')
        wait_until_active('/arm/eye')
        stops_cleanly(launched)


@pytest.mark.parametrize('path', NETWORKS, ids=name_of)
def test_a_missing_engine_or_model_is_said_and_the_node_stays_for_another_try(
    launch, path, tmp_path
):
    with Launched(path, environment={'XDG_CACHE_HOME': str(tmp_path)}) as launched:
        launched.wait_for('there is no engine: ')
        wait_until_active()
        words, code = doctors_words()
        assert code == doctor.EXIT_WRONG
        assert '[FAIL] /mast3r: engine: there is no engine: ' in words
        assert 'configure the node anew' in words
        stops_cleanly(launched)


def test_a_fallback_runs_and_is_said(launch, tmp_path):
    environment = {'XDG_CACHE_HOME': str(tmp_path)}
    path = ROOT / 'launch' / 'drone.launch.py'
    with Launched(path, 'fallback:=geometric', environment=environment) as launched:
        launched.wait_for('the geometric engine runs instead, as fallback asks')
        wait_until_active()
        words, code = doctors_words()
        assert code == doctor.EXIT_WRONG
        assert '[warn] /mast3r: engine: geometry runs instead' in words
        assert 'state: ready' in words
        stops_cleanly(launched)


@pytest.mark.parametrize('word', ['rviz:=perhaps', 'mode:=mono', 'fallback:=opencv'])
def test_a_wrong_argument_ends_the_launch_with_the_allowed_ones(launch, word):
    with Launched(ROOT / 'launch' / 'drone.launch.py', word) as launched:
        (code,) = launched.end()
    name, _, value = word.partition(':=')
    assert code != 0
    assert value in launched.printed
    assert arguments_of(PRESETS[0])[name].choices[-1] in launched.printed
    assert 'process started' not in launched.printed


def test_a_missing_rviz_is_said_and_the_node_runs(launch):
    from ament_index_python.packages import get_packages_with_prefixes

    if 'rviz2' in get_packages_with_prefixes():
        pytest.skip('needs a machine without rviz2')
    with Launched(ROOT / 'launch' / 'stereo_geometric.launch.py', 'rviz:=true') as launched:
        launched.wait_for('rviz2 is not installed')
        launched.wait_for('the engine is ready')
        stops_cleanly(launched)


def test_nodes_are_launched_into_a_running_container(launch):
    pytest.importorskip('composition_interfaces', reason='needs composition_interfaces')
    command = [sys.executable, '-m', 'mast3r_ros.ros.container']
    container = subprocess.Popen(command, env=program_environment())
    words = ('container:=/mast3r_container', 'engine:=geometric')
    try:
        for name in ('front', 'rear'):
            with Launched(
                ROOT / 'launch' / 'drone.launch.py', *words, f'name:={name}'
            ) as launched:
                launched.wait_for(f"Loaded node '/{name}'")
                wait_until_active(f'/{name}')
                stops_cleanly(launched)
        container.send_signal(signal.SIGINT)
        assert container.wait(END_S) == 0
    finally:
        container.kill()
        container.wait()


def test_a_bag_is_replayed_into_the_launched_node(launch, tmp_path):
    pytest.importorskip('rosbags', reason='needs rosbags')
    from support.bag_files import stereo_plan

    bag = stereo_plan(6).write(tmp_path / 'flight')
    words = (f'bag:={bag}', 'player:=mast3r', 'rviz:=false')
    with Launched(ROOT / 'launch' / 'replay.launch.py', *words) as launched:
        launched.wait_for('6 of 6 pairs were answered by /mast3r')
        wait_until_active()
        words, _ = doctors_words()
        assert 'answered: 6' in words
        assert 'this clock disagree' not in words
        stops_cleanly(launched)


def test_a_missing_player_is_said_and_nothing_is_started(launch, tmp_path):
    from ament_index_python.packages import get_packages_with_prefixes

    if 'ros2bag' in get_packages_with_prefixes():
        pytest.skip('needs a machine without ros2 bag')
    with Launched(ROOT / 'launch' / 'replay.launch.py', f'bag:={tmp_path}') as launched:
        (code,) = launched.end()
    assert code == 1
    assert 'ros2 bag is not installed' in launched.printed
    assert 'player:=mast3r' in launched.printed
    assert 'process started' not in launched.printed
