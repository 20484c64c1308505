# SPDX-License-Identifier: Apache-2.0
"""`make setup` where it cannot go on: one sentence, the right exit code, nothing half made."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from development.state import State

ROOT = Path(__file__).resolve().parents[2]
PYTHON = Path(sys._base_executable).resolve()  # the one that made this environment
COPIED = ('.ci', 'CMakeLists.txt', 'package.xml', 'setup.cfg')


@pytest.fixture
def checkout(tmp_path):
    """A copy of what setup needs, to be made in and thrown away."""
    for name in COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copyfile
        copy(source, tmp_path / name)
    return tmp_path


def plain_environment(**changes: str) -> dict[str, str]:
    """Return the variables of a shell in which no ROS 2 is sourced."""
    kept = ('HOME', 'PATH', 'LANG', 'TMPDIR')
    return {**{name: os.environ[name] for name in kept if name in os.environ}, **changes}


def setup(checkout: Path, *options: str, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, checkout / '.ci' / 'environment.py', *options],
        capture_output=True,
        text=True,
        env=plain_environment(**changes),
        check=False,
    )


def assert_refused_in_one_line(answer: subprocess.CompletedProcess[str], *words: str) -> None:
    assert answer.returncode == 2, answer.stderr
    assert len(answer.stderr.splitlines()) == 1, answer.stderr
    for word in words:
        assert word in answer.stderr


def test_an_unknown_distribution_is_refused_before_anything_is_made(checkout):
    answer = setup(checkout, '--distro', 'melodic')
    assert_refused_in_one_line(answer, 'DISTRO=melodic', 'DISTRO=jazzy or DISTRO=kilted')
    assert sorted(path.name for path in checkout.iterdir()) == sorted(COPIED)


def test_a_machine_without_compilers_is_refused_before_anything_is_made(
    checkout, tmp_path_factory
):
    empty = tmp_path_factory.mktemp('bin')
    answer = setup(checkout, PATH=str(empty))
    assert_refused_in_one_line(answer, 'C compiler', 'CMake', 'apt install build-essential cmake')
    assert sorted(path.name for path in checkout.iterdir()) == sorted(COPIED)


def test_an_old_python_is_refused_in_one_line(checkout):
    script = (
        'import sys, runpy\n'
        'sys.version_info = (3, 8, 18)\n'
        f'runpy.run_path({str(checkout / ".ci" / "environment.py")!r}, run_name="__main__")\n'
    )
    answer = subprocess.run(
        [PYTHON, '-c', script],
        capture_output=True,
        text=True,
        env=plain_environment(),
        check=False,
    )
    assert_refused_in_one_line(answer, 'Python 3.8', '3.10 to 3.13', 'PYTHON=')


def test_somebodys_own_environment_is_left_alone(checkout):
    own = checkout / '.venv' / 'pyvenv.cfg'
    own.parent.mkdir()
    own.write_text('home = /usr/bin\n')
    assert_refused_in_one_line(setup(checkout, '--distro', 'jazzy'), '.venv', 'move it away')
    assert own.read_text() == 'home = /usr/bin\n'
    assert [path.name for path in own.parent.iterdir()] == ['pyvenv.cfg']


def test_a_failed_installation_shows_its_end_and_begins_anew_next_time(checkout):
    answer = setup(checkout, '--distro', 'jazzy', PIP_NO_INDEX='1', PIP_CONFIG_FILE=os.devnull)
    assert answer.returncode == 1
    log = checkout / 'build' / 'jazzy' / 'pip.log'
    assert str(log) in answer.stderr.splitlines()[-1]
    assert 'No matching distribution found' in answer.stderr
    state = State(checkout / '.venv')
    assert state.ours
    assert state.has('venv')
    assert not state.has('requirements')


def test_an_interruption_is_one_line_and_leaves_the_folder_ours(checkout):
    setup_process = subprocess.Popen(
        [PYTHON, checkout / '.ci' / 'environment.py', '--distro', 'jazzy'],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=plain_environment(PYTHONUNBUFFERED='1'),
    )
    said = ''
    while 'virtual environment' not in said:
        said += setup_process.stdout.read(1)
    setup_process.send_signal(signal.SIGINT)
    _, complaint = setup_process.communicate()
    assert setup_process.returncode == 130
    assert complaint.splitlines() == ['Interrupted; the same command continues.']
    state = State(checkout / '.venv')
    assert state.ours
    assert not state.has('venv')
