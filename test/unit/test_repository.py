# SPDX-License-Identifier: Apache-2.0
"""Promises about the repository as a whole: one version, short files, nobody's private paths."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP_FOLDERS = ('.ci', 'config', 'docs', 'examples', 'launch', 'mast3r_ros', 'msg', 'test')
LONGEST_FILE = 350  # lines
TEXTS = {'.cfg', '.cpp', '.md', '.msg', '.py', '.rst', '.sh', '.toml', '.txt', '.xml', '.yaml', ''}

# Put together from halves, so that this file does not contain them.
PRIVATE = re.compile(
    '|'.join(
        [
            'py' + r'pi\.org',
            'python' + 'hosted',
            r'/home' + r'/\w',
            '/roo' + 't/',
            '/Use' + r'rs/\w',
        ]
    )
)


def files() -> list[Path]:
    """Return every text file of the repository, without what the commands made."""
    found = [path for path in ROOT.iterdir() if path.is_file()]
    for folder in TOP_FOLDERS:
        found += [path for path in (ROOT / folder).rglob('*') if path.is_file()]
    return sorted(
        path
        for path in found
        if (path.suffix in TEXTS or path.name.startswith('Dockerfile'))
        and '__pycache__' not in path.parts
    )


def python_files() -> list[Path]:
    return [path for path in files() if path.suffix == '.py']


def version() -> str:
    tree = ast.parse((ROOT / 'mast3r_ros' / '__init__.py').read_text(encoding='utf-8'))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == '__version__':
            return str(ast.literal_eval(node.value))
    pytest.fail('mast3r_ros/__init__.py sets no __version__')


def test_the_version_is_a_plain_one():
    assert re.fullmatch(r'\d+\.\d+\.\d+', version())


def test_the_manifest_carries_the_version():
    manifest = ElementTree.parse(ROOT / 'package.xml').getroot()
    assert manifest.findtext('version') == version()


def test_the_changelog_begins_with_the_version():
    text = (ROOT / 'CHANGELOG.rst').read_text(encoding='utf-8')
    entries = re.findall(r'^(\d+\.\d+\.\d+) \(.+\)\n-+$', text, re.MULTILINE)
    assert entries[0] == version()


def test_the_wheel_takes_its_version_from_the_package():
    assert 'version = attr: mast3r_ros.__version__' in (ROOT / 'setup.cfg').read_text()


def test_no_module_is_too_long_for_one_concept():
    modules = [*(ROOT / 'mast3r_ros').rglob('*.py'), *(ROOT / '.ci').rglob('*.py')]
    lengths = {str(path): len(path.read_text().splitlines()) for path in modules}
    assert {path: lines for path, lines in lengths.items() if lines > LONGEST_FILE} == {}


def test_every_python_file_names_its_licence():
    header = '# SPDX-License-Identifier: Apache-2.0'
    bare = [str(path) for path in python_files() if header not in path.read_text()[:120]]
    assert bare == []


def test_every_module_says_what_it_owns():
    silent = [
        str(path)
        for path in python_files()
        if not ast.get_docstring(ast.parse(path.read_text(encoding='utf-8')))
    ]
    assert silent == []


def test_no_file_names_private_folders_or_package_hosts():
    assert len(files()) > 30
    found = {
        f'{path.relative_to(ROOT)}: {match[0]}'
        for path in files()
        for match in PRIVATE.finditer(path.read_text(encoding='utf-8'))
    }
    assert found == set()


def test_tests_are_no_package():
    """A package would put the sources before the installed copy, which alone has the messages."""
    assert list((ROOT / 'test').rglob('__init__.py')) == []


def test_no_module_stands_where_the_messages_are_generated():
    assert not (ROOT / 'mast3r_ros' / 'msg').exists()
    assert not (ROOT / 'mast3r_ros' / 'msg.py').exists()


def cmake_list(name: str) -> list[str]:
    found = re.search(rf'set\({name}\s+([^)]+)\)', (ROOT / 'CMakeLists.txt').read_text())
    assert found
    return found[1].split()


def test_every_node_has_its_launcher():
    with_main = [
        path.stem
        for path in (ROOT / 'mast3r_ros' / 'ros').glob('*.py')
        if re.search(r'^def main\(', path.read_text(encoding='utf-8'), re.MULTILINE)
    ]
    assert sorted(cmake_list('nodes')) == sorted(with_main)


def test_every_command_is_made_by_both_builds():
    """CMake makes the commands of a ROS build, setup.cfg those of a wheel."""
    cmake = cmake_list('commands')
    wheel = re.findall(r'^ +mast3r-(\S+) = (\S+):main$', (ROOT / 'setup.cfg').read_text(), re.M)
    assert sorted(cmake) == sorted(name for name, _ in wheel)
    for name, module in wheel:
        assert module == f'mast3r_ros.cli.{name}'
        assert (ROOT / 'mast3r_ros' / 'cli' / f'{name}.py').is_file()
