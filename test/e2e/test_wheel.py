# SPDX-License-Identifier: Apache-2.0
"""The wheel: the library without ROS, whole and alone, with its messages and settings files."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from development import requirements
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ('LICENSE', 'NOTICE', 'README.md', 'pyproject.toml', 'setup.cfg', 'setup.py')
FOLDERS = ('config', 'mast3r_ros', 'msg', 'test')
PIP = (sys.executable, '-m', 'pip', '--disable-pip-version-check')
OFFLINE = ('--quiet', '--no-deps', '--no-index')


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command in a shell that knows nothing of this environment; return what it says."""
    plain = {name: os.environ[name] for name in ('HOME', 'PATH', 'LANG') if name in os.environ}
    answer = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=plain,
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.stdout


@pytest.fixture(scope='module')
def wheel(tmp_path_factory):
    source = tmp_path_factory.mktemp('source')  # setuptools leaves its work beside the sources
    for name in SOURCES:
        shutil.copyfile(ROOT / name, source / name)
    for name in FOLDERS:
        ignored = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    made = tmp_path_factory.mktemp('wheel')
    run(*PIP, 'wheel', *OFFLINE, '--no-build-isolation', '-w', made, source, cwd=made)
    return next(made.glob('*.whl'))


@pytest.fixture(scope='module')
def bare_python(wheel, tmp_path_factory):
    """A Python with the wheel and with what the wheel says it needs, and no ROS."""
    folder = tmp_path_factory.mktemp('bare')
    venv.create(folder, symlinks=True)
    python = folder / 'bin' / 'python'
    site = Path(
        run(python, '-c', 'import site; print(site.getsitepackages()[0])', cwd=folder).strip()
    )
    for name in needed_distributions():
        link_distribution(name, site)
    run(*PIP, '--python', python, 'install', *OFFLINE, wheel, cwd=folder)
    return python


def needed_distributions() -> set[str]:
    """Return the library's requirements and theirs."""
    waiting = list(requirements.library(ROOT).values())
    found: set[str] = set()
    while waiting:
        wanted = Requirement(waiting.pop())
        if wanted.name not in found and (
            wanted.marker is None or wanted.marker.evaluate({'extra': ''})
        ):
            found.add(wanted.name)
            waiting += importlib.metadata.requires(wanted.name) or []
    return found


def link_distribution(name: str, site: Path) -> None:
    """Make an installed distribution visible in another site-packages folder."""
    files = importlib.metadata.distribution(name).files or []
    for top in {file.parts[0] for file in files} - {'..', '__pycache__'}:
        if not (site / top).exists():
            (site / top).symlink_to(importlib.metadata.distribution(name).locate_file(top))


def test_the_wheel_carries_messages_and_settings_and_no_tests(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder, pattern in {'msg': '*.msg', 'config': '*.yaml'}.items():
        inside = {
            f'mast3r_ros/_share/{folder}/{path.name}' for path in (ROOT / folder).glob(pattern)
        }
        assert inside
        assert inside <= names
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / 'mast3r_ros').rglob('*.py')}
    assert modules - names == set()
    tops = {name.partition('/')[0] for name in names}
    assert {top for top in tops if not top.endswith('.dist-info')} == {'mast3r_ros'}


def test_the_wheel_carries_its_licence_and_the_notice_on_weights(wheel):
    names = {Path(name).name for name in zipfile.ZipFile(wheel).namelist()}
    assert {'LICENSE', 'NOTICE'} <= names


def test_the_library_imports_without_ros(bare_python):
    script = 'import mast3r_ros; from mast3r_ros import get_runtime; print(mast3r_ros.__file__)'
    where = run(bare_python, '-c', script, cwd=bare_python.parent)
    assert where.startswith(str(bare_python.parents[1]))


def test_the_commands_run_without_ros(bare_python):
    info = run(bare_python.with_name('mast3r-info'), '--json', cwd=bare_python.parent)
    assert json.loads(info)
    for command in ('mast3r-benchmark', 'mast3r-match'):
        assert command in run(bare_python.with_name(command), '--help', cwd=bare_python.parent)


def test_the_ros_half_says_how_to_get_it(bare_python):
    script = 'try:\n    import mast3r_ros.ros\nexcept ImportError as error:\n    print(error)\n'
    said = run(bare_python, '-c', script, cwd=bare_python.parent)
    assert 'colcon' in said
    assert 'source install/setup.bash' in said
    assert len(said.splitlines()) == 1


def test_one_extra_installs_all_that_fits_together():
    """`all` leaves out what excludes another extra or needs hardware of its own."""
    text = (ROOT / 'setup.cfg').read_text()
    extras = set(
        re.findall(r'^(\w+) =$', text.partition('[options.extras_require]')[2], re.MULTILINE)
    )
    together = re.search(r'^ +mast3r_ros\[(.+)\]$', text, re.MULTILINE)
    assert together
    assert extras - set(together[1].split(',')) == {'all', 'cuda', 'tensorrt', 'coreml'}
