# SPDX-License-Identifier: Apache-2.0
"""Settings as text for people: commented YAML files and tables, all made from config.py.

``python -m mast3r_ros.settings_text`` writes them anew; a test fails while they differ.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mast3r_ros import presets
from mast3r_ros.config import (
    BackendType,
    MASt3RRuntimeConfig,
    NodeConfig,
    RuntimeConfig,
)
from mast3r_ros.settings import Setting, Settings

TABLE_BEGIN = '<!-- made from config.py: begin -->'
TABLE_END = '<!-- made from config.py: end -->'


def config_files() -> dict[str, str]:
    """Return the text of each file under config/, by name."""
    geometric = NodeConfig(runtime=RuntimeConfig(backend=BackendType.GEOMETRIC))
    files = {
        'drone.yaml': ('A small network for robots.', presets.PRESET_DRONE_FAST),
        'quality.yaml': ('A middle-sized network.', presets.PRESET_DRONE_QUALITY),
        'desktop.yaml': ('The largest network in float32.', presets.PRESET_DESKTOP_PRECISION),
        'stereo_geometric.yaml': ('Stereo geometry, no network and no weights.', geometric),
    }
    return {
        name: commented_yaml(title, _as_node(settings))
        for name, (title, settings) in files.items()
    }


def commented_yaml(title: str, settings: NodeConfig) -> str:
    """Return settings as a parameter file with meaning and range above every line."""
    lines = [f'# {title}', '/**:', '  ros__parameters:']
    for item in settings.describe():
        value = getattr(settings, item.name)
        if isinstance(value, Settings):
            lines.append(f'    {item.name}:')
            for inner in value.describe():
                lines += _yaml_lines(inner, value, indent=6)
        else:
            lines += _yaml_lines(item, settings, indent=4)
    return '\n'.join([*lines, ''])


def markdown_tables() -> str:
    """Return one table a group of settings."""
    settings = NodeConfig()
    groups = [(f'{item.name}.', getattr(settings, item.name)) for item in settings.describe()]
    tables = [_table(prefix, value) for prefix, value in groups if isinstance(value, Settings)]
    return '\n\n'.join('\n'.join(lines) for lines in [*tables, _table('', settings)])


def with_tables(page: str) -> str:
    """Return a page with what stands between its markers made anew."""
    before, begin, rest = page.partition(TABLE_BEGIN)
    _, end, after = rest.partition(TABLE_END)
    if not begin or not end:
        raise ValueError(f'the page lacks the lines {TABLE_BEGIN} and {TABLE_END}')
    return f'{before}{begin}\n{markdown_tables()}\n{end}{after}'


def _as_node(settings: MASt3RRuntimeConfig) -> NodeConfig:
    return NodeConfig(**{item.name: getattr(settings, item.name) for item in settings.describe()})


def _yaml_lines(item: Setting, settings: Settings, indent: int) -> list[str]:
    value = settings.to_dict()[item.name]
    lines = [*(f'# {line}' for line in _comment(item)), f'{item.name}: {_scalar(value)}']
    return [' ' * indent + line for line in lines]


def _comment(item: Setting) -> list[str]:
    facts = f'Allowed: {item.allowed}' + (f', in {item.unit}' if item.unit else '') + '.'
    return [item.meaning, facts + (' May change while running.' if item.dynamic else '')]


def _table(prefix: str, settings: Settings) -> Iterator[str]:
    yield f'### {prefix.rstrip(".") or "the rest"}\n'
    yield '| setting | default | allowed | meaning |'
    yield '|---|---|---|---|'
    defaults = settings.to_dict()
    for item in settings.describe():
        if isinstance(defaults[item.name], dict):
            continue
        unit = f' ({item.unit})' if item.unit else ''
        change = ' Dynamic.' if item.dynamic else ''
        yield (
            f'| `{prefix}{item.name}` | `{_scalar(defaults[item.name])}`{unit} '
            f'| {item.allowed} | {item.meaning}{change} |'
        )


def _scalar(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value)


def main() -> int:
    """Write config/*.yaml and the tables of docs/settings.md anew, from the repository's root."""
    for name, text in config_files().items():
        Path('config', name).write_text(text, encoding='utf-8')
    page = Path('docs/settings.md')
    page.write_text(with_tables(page.read_text(encoding='utf-8')), encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
