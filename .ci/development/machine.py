# SPDX-License-Identifier: Apache-2.0
"""What this machine has, and the sentence about what it lacks."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from development.requirements import MODULES, RCLPY

TOOLS = {
    'make': ('make', 'make'),
    'C compiler': ('cc', 'build-essential'),
    'C++ compiler': ('c++', 'build-essential'),
    'CMake': ('cmake', 'cmake'),
}
DEFAULT_DISTRO = 'jazzy'


@dataclass(frozen=True)
class Machine:
    """The facts that decide whether and how an environment can be made."""

    system: str  # as platform.system() says it
    architecture: str  # as platform.machine() says it
    python: Path  # the interpreter itself, never one of a virtual environment
    python_version: tuple[int, int]
    has_venv: bool
    has_headers: bool  # Python.h, for the messages' extension modules
    tools: frozenset[str]  # names from TOOLS that were found
    ros_distro: str  # ROS_DISTRO, empty where no ROS 2 is sourced
    has_rclpy: bool  # whether the sourced ROS 2 can be imported by this Python
    modules: frozenset[str] = frozenset()  # of MODULES, those the system's Python can import

    @property
    def sourced(self) -> str | None:
        """The distribution of a ROS 2 that is sourced and works."""
        return self.ros_distro if self.ros_distro and self.has_rclpy else None


def look_around() -> Machine:
    """Return the facts about this machine."""
    python = Path(sys._base_executable).resolve()  # type: ignore[attr-defined]
    ros_distro = os.environ.get('ROS_DISTRO', '')
    importable = _importable(python, ['rclpy', *MODULES.values()]) if ros_distro else frozenset()
    return Machine(
        system=platform.system(),
        architecture=platform.machine(),
        python=python,
        python_version=sys.version_info[:2],
        has_venv=all(importlib.util.find_spec(name) for name in ('venv', 'ensurepip')),
        has_headers=(Path(sysconfig.get_path('include')) / 'Python.h').is_file(),
        tools=frozenset(name for name, (command, _) in TOOLS.items() if shutil.which(command)),
        ros_distro=ros_distro,
        has_rclpy='rclpy' in importable,
        modules=importable - {'rclpy'},
    )


def _importable(python: Path, modules: list[str]) -> frozenset[str]:
    script = (
        'import sys\n'
        'for name in sys.argv[1:]:\n'
        '    try:\n'
        '        __import__(name)\n'
        '    except ImportError:\n'
        '        continue\n'
        '    print(name)\n'
    )
    answer = subprocess.run(
        [python, '-c', script, *modules], capture_output=True, text=True, check=False
    )
    return frozenset(answer.stdout.split())


def choose_distro(machine: Machine, wanted: str) -> str:
    """Return the distribution: the wanted one, else the sourced one, else the default."""
    return wanted or machine.sourced or DEFAULT_DISTRO


def problem(machine: Machine, distro: str) -> str | None:
    """Return one sentence about the first thing that is in the way, with its cure, or None."""
    return (
        _problem_with_distro(machine, distro)
        or _problem_with_platform(machine)
        or problem_with_python(machine)
        or _problem_with_tools(machine)
    )


def _problem_with_distro(machine: Machine, distro: str) -> str | None:
    if machine.sourced:
        if distro == machine.sourced:
            return None
        return (
            f'ROS 2 {machine.sourced} is sourced but DISTRO={distro} was asked for: leave DISTRO '
            'out, or use a shell in which no ROS 2 is sourced.'
        )
    if distro in RCLPY:
        return None
    return (
        f'DISTRO={distro} cannot be installed from PyPI: use DISTRO='
        + ' or DISTRO='.join(RCLPY)
        + f', or source a ROS 2 {distro} that this Python can import.'
    )


def _problem_with_platform(machine: Machine) -> str | None:
    if machine.sourced or (machine.system, machine.architecture) == ('Linux', 'x86_64'):
        return None
    return (
        f'PyPI has no ROS 2 for {machine.system} on {machine.architecture}, only for Linux on '
        'x86_64: source an installed ROS 2 first (`source /opt/ros/jazzy/setup.bash`).'
    )


def problem_with_python(machine: Machine) -> str | None:
    """Return one sentence about what Python lacks for making a virtual environment, or None."""
    if machine.has_venv:
        return None
    version = '.'.join(map(str, machine.python_version))
    return (
        f'Python {version} cannot make virtual environments: install its venv module '
        f'(`sudo apt install python{version}-venv`).'
    )


def _problem_with_tools(machine: Machine) -> str | None:
    missing = [name for name in TOOLS if name not in machine.tools]
    packages = sorted({TOOLS[name][1] for name in missing})
    if not machine.has_headers:
        missing.append("Python's headers")
        packages.append('python{}.{}-dev'.format(*machine.python_version))
    if not missing:
        return None
    return (
        f'The messages cannot be built without {_listed(missing)}: install what is missing '
        f'(`sudo apt install {" ".join(packages)}`).'
    )


def _listed(names: list[str]) -> str:
    return ', '.join(names[:-1]) + ' and ' + names[-1] if len(names) > 1 else names[0]
