# SPDX-License-Identifier: Apache-2.0
"""make bench: every comparison side by side in one run: a table, build/bench.json and .png."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from network_case import missing_libraries
from PIL import Image
from ratio_chart import draw_ratios
from side_by_side import Missing, Row

# A new group of comparisons is a module here with a function rows().
GROUPS = ('matching', 'geometric', 'wire', 'node', 'networks', 'package')
# Those that ask a question which is answered.
ON_REQUEST = ('matching_modes', 'stages', 'stereo_batch', 'two_sizes')
_GROUPS_HELP = f'of {", ".join(GROUPS)}; by name only: {", ".join(ON_REQUEST)}'


def main() -> int:
    """Run the groups and write what they measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('groups', nargs='*', metavar='GROUP', help=_GROUPS_HELP)
    parser.add_argument('--output', type=Path, default=Path('build/bench.json'))
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.groups) - {*GROUPS, *ON_REQUEST})
    if unknown:
        known = ', '.join((*GROUPS, *ON_REQUEST))
        parser.error(f'no group is called {", ".join(unknown)}; there are {known}')
    rows: list[Row | Missing] = []
    start = time.monotonic()
    for name in arguments.groups or GROUPS:
        print(f'[{name}]', flush=True)
        began = time.monotonic()
        for row in rows_of(name):
            rows.append(row)
            print(line(row), flush=True)
        print(f'  ({name}: {time.monotonic() - began:.0f} s)', flush=True)
    _write(arguments.output, rows)
    picture = arguments.output.with_suffix('.png')
    print(
        f'\n{len(rows)} rows in {time.monotonic() - start:.0f} s, written to {arguments.output} '
        f'and {picture}'
    )
    return 0


def rows_of(group: str) -> Iterator[Row | Missing]:
    """Measure a group, if the libraries are there that its module ``NEEDS``."""
    module = importlib.import_module(group)
    missing = missing_libraries(getattr(module, 'NEEDS', ()))
    if missing:
        yield Missing(group, group, f'needs {", ".join(missing)}')
        return
    yield from module.rows()


def line(row: Row | Missing) -> str:
    """Return a row as text."""
    if isinstance(row, Missing):
        return f'  {row.name:<44} not measured: {row.reason}'
    facts = ', '.join(f'{name} {_short(value)}' for name, value in row.facts.items())
    goal = f' (goal {row.goal:g}x)' if row.goal is not None else ''
    goal += f' (goal {row.goal_ms:g} ms)' if row.goal_ms is not None else ''
    if row.goal_pairs_per_s is not None:
        goal += f' (goal {row.goal_pairs_per_s:g} pairs/s)'
    if row.best_ratio is not None:
        goal += f' (shortest times: {row.best_ratio:.1f}x)'
    if row.at_most is not None:
        goal += f' (at most {row.at_most:.1f}x at the peak of this processor)'
    missed = ''.join(f'\n{"":<6}GOAL MISSED: {words}' for words in row.misses)
    return (
        f'  {row.name:<44}{row.ours_ms:>9.2f} ms  {row.ratio:>6.2f}x faster than '
        f'{row.other} [{row.ratio_low:.2f} to {row.ratio_high:.2f}]{goal}{missed}'
        + (f'\n{"":<6}{facts}' if facts else '')
    )


def _short(value: Any) -> str:
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def _write(path: Path, rows: list[Row | Missing]) -> None:
    report = {
        'command': 'make bench',
        'processor': processor(),
        'cores': len(os.sched_getaffinity(0))
        if hasattr(os, 'sched_getaffinity')
        else os.cpu_count(),
        'python': platform.python_version(),
        'rows': [row.as_dict() for row in rows],
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    Image.fromarray(draw_ratios(report)).save(path.with_suffix('.png'))


def processor() -> str:
    """Return the processor's name."""
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(':')[2].strip() for line in lines if line.startswith('model name')]
    return names[0] if names else platform.processor()


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print('Interrupted; nothing was written.', file=sys.stderr)
        sys.exit(130)
