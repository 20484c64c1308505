# SPDX-License-Identifier: Apache-2.0
"""The environment that `make setup` made: up to date, a ROS prefix, the commands in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SETUP = ROOT / '.ci' / 'environment.py'
MADE_HERE = os.environ.get('MAST3R_ROS_ENVIRONMENT')
HOOK_VARIABLES = ('MAST3R_ROS_PREFIX', '_ROS_WHEELS_BOOTSTRAP_COMPLETE')

pytestmark = pytest.mark.skipif(MADE_HERE is None, reason='needs the environment of `make test`')


def without_hook() -> dict[str, str]:
    """Return the variables as they were before Python first started in this environment."""
    kept = {name: value for name, value in os.environ.items() if name not in HOOK_VARIABLES}
    libraries = kept.get('LD_LIBRARY_PATH', '').split(os.pathsep)
    outer = [path for path in libraries if not path.startswith(sys.prefix)]
    return {**kept, 'LD_LIBRARY_PATH': os.pathsep.join(outer)}


def test_a_second_setup_has_nothing_to_do():
    base = Path(sys._base_executable)
    answer = subprocess.run(
        [base, SETUP, '--distro', str(MADE_HERE)],
        capture_output=True,
        text=True,
        env=without_hook(),
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    assert 'is up to date' in answer.stdout
    assert len(answer.stdout.splitlines()) == 1


def test_another_distribution_than_the_sourced_one_is_refused():
    """This environment's own ROS 2 plays the sourced one."""
    import rclpy

    sourced = {
        **without_hook(),
        'ROS_DISTRO': 'jazzy',
        'PYTHONPATH': str(Path(rclpy.__file__).parents[1]),
        'LD_LIBRARY_PATH': os.environ['LD_LIBRARY_PATH'],
    }
    answer = subprocess.run(
        [Path(sys._base_executable), SETUP, '--distro', 'kilted'],
        capture_output=True,
        text=True,
        env=sourced,
        check=False,
    )
    assert answer.returncode == 2
    assert 'ROS 2 jazzy is sourced but DISTRO=kilted was asked for' in answer.stderr


def test_its_python_finds_the_messages_from_any_shell(tmp_path):
    script = 'from mast3r_ros.msg import MatchArray; print(MatchArray(width_1=3).width_1)'
    answer = subprocess.run(
        [sys.executable, '-c', script],
        capture_output=True,
        text=True,
        env=without_hook(),
        cwd=tmp_path,
        check=False,
    )
    assert answer.stdout.strip() == '3', answer.stderr


def test_its_python_finds_the_messages_inside_another_environment(tmp_path):
    """The variables of an outer environment must not keep this one from setting its own."""
    outer = {
        **without_hook(),
        '_ROS_WHEELS_BOOTSTRAP_COMPLETE': '1',
        'MAST3R_ROS_PREFIX': '/elsewhere',
        'LD_LIBRARY_PATH': '/elsewhere/lib',
    }
    script = (
        'import os\n'
        'from mast3r_ros.msg import PairStats; PairStats()\n'
        'print(os.environ["LD_LIBRARY_PATH"])\n'
    )
    answer = subprocess.run(
        [sys.executable, '-c', script],
        capture_output=True,
        text=True,
        env=outer,
        cwd=tmp_path,
        check=False,
    )
    libraries = answer.stdout.strip().split(os.pathsep)
    assert libraries[0] == str(Path(sys.prefix) / 'lib'), answer.stderr
    assert libraries[-1] == '/elsewhere/lib'


@pytest.mark.parametrize('folder', ['bin', 'lib/mast3r_ros'])
@pytest.mark.parametrize('command', ['mast3r-info', 'mast3r-benchmark', 'mast3r-match'])
def test_every_command_stands_where_the_shell_and_ros2_run_look(folder, command):
    path = Path(sys.prefix) / folder / command
    answer = subprocess.run([path, '--help'], capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert command in answer.stdout


def test_a_command_needs_no_activated_environment(tmp_path):
    command = Path(sys.prefix) / 'bin' / 'mast3r-info'
    bare = {'PATH': '/usr/bin:/bin', 'HOME': str(tmp_path)}
    if 'PYTHONPATH' in os.environ:  # where a sourced ROS 2 has its modules
        bare['PYTHONPATH'] = os.environ['PYTHONPATH']
    answer = subprocess.run(
        [command, '--json'], capture_output=True, text=True, env=bare, cwd=tmp_path, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert json.loads(answer.stdout)


def test_the_settings_files_are_installed():
    share = Path(sys.prefix) / 'share' / 'mast3r_ros'
    installed = {path.name for path in (share / 'config').iterdir()}
    assert installed == {path.name for path in (ROOT / 'config').iterdir()}
    assert {path.name for path in (ROOT / 'msg').iterdir()} <= {
        path.name for path in (share / 'msg').iterdir()
    }
