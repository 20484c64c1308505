# SPDX-License-Identifier: Apache-2.0
"""What the documents name is there: links, commands, make targets, launch files, settings."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from mast3r_ros.config import NodeConfig
from mast3r_ros.settings import Settings

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
LINK = re.compile(r'\]\(([^)\s]+)\)')
HEADING = re.compile(r'^#+ (.*)$', re.MULTILINE)
CODE = re.compile(r'`([^`\n]+)`')
MAKE = re.compile(r'(?:^|`| )make ([a-z]+(?:-[a-z]+)*)(?=`| *$| +#| +[A-Z]+=)', re.MULTILINE)


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchor_of(heading: str) -> str:
    """Return the anchor that a heading gets on a page."""
    return re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-')


def settings() -> set[str]:
    """Return every dotted setting."""
    names = set()
    for group in NodeConfig().describe():
        value = getattr(NodeConfig(), group.name)
        if isinstance(value, Settings):
            names |= {f'{group.name}.{item.name}' for item in value.describe()}
    return names


def commands() -> set[str]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg', encoding='utf-8')
    lines = setup['options.entry_points']['console_scripts'].split('\n')
    return {line.split('=')[0].strip() for line in lines if line.strip()}


@pytest.mark.parametrize('page', PAGES, ids=page_id)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text(encoding='utf-8')):
        if '://' in link:
            continue
        path, _, anchor = link.partition('#')
        target = page.parent / path if path else page
        assert target.exists(), f'{link} is not there'
        if anchor:
            headings = HEADING.findall(target.read_text(encoding='utf-8'))
            assert anchor in map(anchor_of, headings), f'{link} has no such heading'


@pytest.mark.parametrize('page', PAGES, ids=page_id)
def test_every_command_exists(page: Path) -> None:
    text = page.read_text(encoding='utf-8')
    assert set(re.findall(r'\bmast3r-[a-z]+\b', text)) <= commands()
    targets = set(re.findall(r'^([a-z-]+):', (ROOT / 'Makefile').read_text(), re.MULTILINE))
    assert set(MAKE.findall(text)) <= targets
    launched = set(re.findall(r'\b[a-z_]+\.launch\.py\b', text))
    assert launched <= {path.name for path in (ROOT / 'launch').iterdir()}


@pytest.mark.parametrize('page', PAGES, ids=page_id)
def test_every_setting_exists(page: Path) -> None:
    known = settings()
    groups = {name.partition('.')[0] for name in known}
    for code in CODE.findall(page.read_text(encoding='utf-8')):
        name = re.match(r'([a-z_]+)\.([a-z_0-9]+)(?=$|:|=)', code)
        if name and name.group(1) in groups and name.group(2) not in ('json', 'py', 'csv', 'png'):
            assert name.group(0) in known, f'`{code}` is no setting'
