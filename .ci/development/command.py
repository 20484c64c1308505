# SPDX-License-Identifier: Apache-2.0
"""The command line: set an environment up and, given a command, run it inside."""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from development import requirements
from development.environment import Environment
from development.machine import (
    DEFAULT_DISTRO,
    Machine,
    choose_distro,
    look_around,
    problem,
    problem_with_python,
)
from development.state import State
from development.steps import StepFailed, complain

ROOT = Path(__file__).resolve().parents[2]
INTERRUPTED = 130
REFUSED = 2


class Refused(Exception):
    """This cannot be done here; the text is one sentence with the cure."""


def run(arguments: list[str]) -> int:
    """Do what the command line asks; return the exit code.

    :param arguments: the command line; what follows ``--`` is the command to run inside.
    """
    end = arguments.index('--') if '--' in arguments else len(arguments)
    options, command = _parser().parse_args(arguments[:end]), arguments[end + 1 :]
    try:
        environment = _oldest() if options.oldest else _with_ros(options.distro)
        _set_up(environment)
    except Refused as error:
        complain(str(error))
        return REFUSED
    except StepFailed as error:
        complain(str(error))
        return 1
    except KeyboardInterrupt:
        complain('Interrupted; the same command continues.')
        return INTERRUPTED
    if command:
        _become(environment, command)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='.ci/environment.py', usage='%(prog)s [options] [-- command ...]', description=__doc__
    )
    parser.add_argument('--distro', default='', help='jazzy or kilted; nothing: the sourced one')
    parser.add_argument('--oldest', action='store_true', help='the oldest libraries, no ROS')
    return parser


def _with_ros(wanted: str) -> Environment:
    machine = look_around()
    distro = choose_distro(machine, wanted)
    sentence = problem(machine, distro)
    if sentence:
        raise Refused(sentence)
    if machine.ros_distro and not machine.sourced:
        print(
            f'ROS 2 {machine.ros_distro} is sourced, but {machine.python} cannot import its '
            "rclpy: PyPI's is used instead."
        )
    suffix = '' if distro == DEFAULT_DISTRO else f'-{distro}'
    sourced = machine.sourced is not None
    return Environment(
        root=ROOT,
        name=distro,
        folder=ROOT / f'.venv{suffix}',
        python=machine.python,
        python_version=machine.python_version,
        requirements=requirements.beside_ros(ROOT, machine.modules)
        if sourced
        else requirements.from_pypi(ROOT, distro),
        ros=distro,
        sourced=sourced,
    )


def _oldest() -> Environment:
    machine = look_around()
    sentence = problem_with_python(machine)
    if sentence:
        raise Refused(sentence)
    python, version = _python_for_oldest(machine)
    return Environment(
        root=ROOT,
        name='oldest',
        folder=ROOT / '.venv-oldest',
        python=python,
        python_version=version,
        requirements=requirements.oldest(),
    )


def _python_for_oldest(machine: Machine) -> tuple[Path, tuple[int, int]]:
    first, last = requirements.OLDEST_PYTHONS
    if first <= machine.python_version <= last:
        return machine.python, machine.python_version
    for minor in range(last[1], first[1] - 1, -1):
        found = shutil.which(f'python3.{minor}')
        if found and _answers(found, minor):
            return Path(found), (3, minor)
    versions = ' to '.join('.'.join(map(str, version)) for version in (first, last))
    raise Refused(
        f'The oldest NumPy has builds for Python {versions} alone and none of them is on PATH: '
        f'install one (`sudo apt install python3.{last[1]}-venv`).'
    )


def _answers(python: str, minor: int) -> bool:
    """Return whether it is what its name says: a shim may stand for a Python that is not there."""
    answer = subprocess.run([python, '--version'], capture_output=True, text=True, check=False)
    return bool(re.match(rf'Python 3\.{minor}\b', answer.stdout))


def _set_up(environment: Environment) -> None:
    with _alone(environment):
        state = State(environment.folder)
        if environment.folder.exists() and not state.ours:
            raise Refused(
                f'{environment.folder} exists and was not made by `make setup`: move it away or '
                'delete it.'
            )
        if not environment.needed(state):
            print(f'{environment.folder.name} is up to date ({environment.title}).', flush=True)
            return
        print(f'Setting up {environment.folder.name} ({environment.title})', flush=True)
        environment.make(state)
        if environment.ros is not None:
            print(f'{environment.folder.name} is ready. Try: make demo', flush=True)


@contextlib.contextmanager
def _alone(environment: Environment) -> Iterator[None]:
    """Wait until no other setup of the same environment runs."""
    environment.logs.mkdir(parents=True, exist_ok=True)
    (ROOT / 'build' / 'COLCON_IGNORE').touch()
    with (environment.logs / 'setup.lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f'Waiting for another setup of {environment.folder.name} to end.', flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _become(environment: Environment, command: list[str]) -> None:
    env = environment.variables()
    env['MAST3R_ROS_ENVIRONMENT'] = environment.name
    if environment.ros is None:
        env['PYTHONPATH'] = str(ROOT)
    os.execvpe(command[0], command, env)
