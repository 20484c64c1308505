# SPDX-License-Identifier: Apache-2.0
"""One development environment: where it lies, what is in it, and how each stage is made."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from development.state import FILE_NAME, State, fingerprint, package_fingerprint
from development.steps import logged, step

HOOK = 'mast3r_ros_prefix'  # sorts before the ROS wheels' own hook, which then has nothing to do
HOOK_SOURCE = Path(__file__).with_name('prefix_hook.py')

# The wheels' CMake files name folders of the machine they were built on.
BUILDERS_PYTHON = re.compile(r'/opt/python/[^/;"]+/include/python3\.\d+')
BUILDERS_NUMPY = re.compile(
    r'/opt/python/[^/;"]+/lib/python3\.\d+/site-packages/numpy/_core/include'
)
BUILDERS_TINYXML2 = re.compile(r'/usr/lib64/libtinyxml2\.so;?')  # the wheels bring their own
# What colcon installs of the package, so that a deleted or renamed file does not stay behind.
INSTALLED = (
    'bin/mast3r-*',
    'include/mast3r_ros',
    'lib/libmast3r_ros__*',
    'lib/mast3r_ros',
    'lib/python3.*/site-packages/mast3r_ros',
    'lib/python3.*/site-packages/mast3r_ros-*',
    'share/ament_index/resource_index/*/mast3r_ros',
    'share/mast3r_ros',
)


@dataclass(frozen=True)
class Environment:
    """A virtual environment, with ROS 2 and this package in it or, for the oldest, without."""

    root: Path  # of the repository
    name: str  # names its folders: .venv-<name> and build/<name>
    folder: Path
    python: Path  # makes it
    python_version: tuple[int, int]
    requirements: tuple[str, ...]
    ros: str | None = None  # the distribution; None: no ROS and the package is not built
    sourced: bool = False  # its ROS 2 is the sourced one, not PyPI's

    @property
    def title(self) -> str:
        """What this environment is, in words."""
        version = '.'.join(map(str, self.python_version))
        if self.ros is None:
            return f'oldest libraries, no ROS, Python {version}'
        return (
            f'ROS 2 {self.ros} {"as sourced" if self.sourced else "from PyPI"}, Python {version}'
        )

    @property
    def logs(self) -> Path:
        """Folder of the full outputs and of colcon's build."""
        return self.root / 'build' / self.name

    @property
    def site_packages(self) -> Path:
        """Where its Python's modules lie."""
        return self.folder / 'lib' / 'python{}.{}'.format(*self.python_version) / 'site-packages'

    def variables(self) -> dict[str, str]:
        """Return the environment variables for commands that run inside."""
        env = dict(os.environ)
        if not self.sourced:
            for name in ('AMENT_PREFIX_PATH', 'CMAKE_PREFIX_PATH', 'COLCON_PREFIX_PATH'):
                env.pop(name, None)
            env.pop('PYTHONPATH', None)
        env.pop('PYTHONHOME', None)
        env['VIRTUAL_ENV'] = str(self.folder)
        env['PATH'] = os.pathsep.join([str(self.folder / 'bin'), env.get('PATH', os.defpath)])
        env['PYTHONNOUSERSITE'] = '1'
        env['PIP_USER'] = '0'
        env.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
        return env

    def fingerprints(self) -> dict[str, str]:
        """Return what each stage is to be made from."""
        hook = HOOK_SOURCE.read_text(encoding='utf-8')
        return {
            'venv': fingerprint(
                str(self.folder), str(self.python), self.python_version, self.ros, self.sourced
            ),
            'requirements': fingerprint(self.requirements, hook, BUILDERS_TINYXML2.pattern),
            'package': package_fingerprint(self.root) if self.ros else '',
        }

    def needed(self, state: State) -> list[str]:
        """Return the stages to run, also where somebody deleted what one of them had made."""
        wanted = self.fingerprints()
        if not (self.folder / 'bin' / 'python').exists():
            return list(wanted)
        needed = state.needed(wanted)
        if needed or self.ros is None:
            return needed
        built = (self._build / 'CMakeCache.txt', self.site_packages / 'mast3r_ros' / '__init__.py')
        return [] if all(path.exists() for path in built) else ['package']

    def make(self, state: State) -> None:
        """Run the stages that are needed, each remembered when it has ended well."""
        wanted = self.fingerprints()
        makers: dict[str, Callable[[bool], None]] = {
            'venv': self._make_venv,
            'requirements': self._install,
            'package': self._build_package,
        }
        for stage in self.needed(state):
            again = state.has(stage)
            state.begin(stage)
            makers[stage](again)
            state.finish(stage, wanted[stage])

    @property
    def _build(self) -> Path:
        return self.logs / 'mast3r_ros'

    def _make_venv(self, _again: bool) -> None:
        options = ['--system-site-packages'] if self.sourced else []
        with step(f'virtual environment {self.folder.name}'):
            for path in self.folder.iterdir():
                if path.name != FILE_NAME:  # what says that this folder is ours
                    _remove(path)
            logged(
                [self.python, '-m', 'venv', *options, self.folder],
                self.logs / 'venv.log',
                env=self.variables(),
            )
            (self.folder / 'COLCON_IGNORE').touch()

    def _install(self, _again: bool) -> None:
        with step(f'{len(self.requirements)} packages and what they need'):
            self.pip_install(self.requirements, 'pip.log')
        if self.ros is None:
            return
        with step("repair of the wheels' CMake files, Python hook"):
            if not self.sourced:
                self._repair()
            shutil.copyfile(HOOK_SOURCE, self.site_packages / f'{HOOK}.py')
            (self.site_packages / f'{HOOK}.pth').write_text(f'import {HOOK}\n', encoding='utf-8')

    def pip_install(self, requirements: tuple[str, ...], log_name: str) -> None:
        """Install packages with this environment's pip."""
        pip = [self.folder / 'bin' / 'python', '-m', 'pip', '--disable-pip-version-check']
        logged(
            [*pip, 'install', '--no-input', '--progress-bar=off', *requirements],
            self.logs / log_name,
            env=self.variables(),
        )

    def _repair(self) -> None:
        script = (
            'import numpy, sysconfig\n'
            'print(sysconfig.get_path("include"))\n'
            'print(numpy.get_include())\n'
        )
        paths = self.logs / 'paths.log'
        logged([self.folder / 'bin' / 'python', '-c', script], paths, env=self.variables())
        python, numpy = paths.read_text(encoding='utf-8').splitlines()[-2:]
        for path in (self.folder / 'share').rglob('*.cmake'):
            text = path.read_text(encoding='utf-8')
            repaired = BUILDERS_NUMPY.sub(lambda _: numpy, text)
            repaired = BUILDERS_PYTHON.sub(lambda _: python, repaired)
            repaired = BUILDERS_TINYXML2.sub('', repaired)
            if repaired != text:
                path.write_text(repaired, encoding='utf-8')

    def _build_package(self, again: bool) -> None:
        if self.ros is None:
            return
        if not again:  # never begun, or not ended well
            shutil.rmtree(self._build, ignore_errors=True)
        with step('colcon build of mast3r_ros'):
            self._remove_installed()
            self._colcon()
            self._check()

    def _remove_installed(self) -> None:
        for pattern in INSTALLED:
            for path in self.folder.glob(pattern):
                _remove(path)

    def _colcon(self) -> None:
        env = self.variables()
        ament = [str(self.folder), *_paths(env, 'AMENT_PREFIX_PATH')]
        env['AMENT_PREFIX_PATH'] = os.pathsep.join(ament)
        env['CMAKE_PREFIX_PATH'] = os.pathsep.join([*ament, *_paths(env, 'CMAKE_PREFIX_PATH')])
        logs = ['--log-base', self.logs / 'colcon']
        places = ['--base-paths', '.', '--build-base', self.logs, '--install-base', self.folder]
        python = f'-DPython3_EXECUTABLE={self.folder / "bin" / "python"}'
        logged(
            [
                *(self.folder / 'bin' / 'python', '-m', 'colcon', *logs, 'build', *places),
                *('--merge-install', '--symlink-install'),
                *('--event-handlers', 'console_direct+'),
                *('--cmake-args', python, '-DBUILD_TESTING=OFF', '-DCMAKE_BUILD_TYPE=Release'),
            ],
            self.logs / 'colcon.log',
            env=env,
            cwd=self.root,
        )

    def _check(self) -> None:
        """Import the package and its messages as a user would, and from here."""
        script = (
            'import sys, mast3r_ros, mast3r_ros.msg as messages\n'
            'messages.MatchArray(), messages.PairStats()\n'
            'if not mast3r_ros.__file__.startswith(sys.prefix):\n'
            '    sys.exit(f"another mast3r_ros is found first: {mast3r_ros.__file__}; "\n'
            '             "use a shell in which only ROS 2 itself is sourced")\n'
        )
        command = [self.folder / 'bin' / 'python', '-c', script]
        logged(command, self.logs / 'check.log', env=self.variables(), cwd=self.logs)


def _paths(env: dict[str, str], variable: str) -> list[str]:
    return [path for path in env.get(variable, '').split(os.pathsep) if path]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
