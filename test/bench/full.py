# SPDX-License-Identifier: Apache-2.0
"""make bench-full: the larger networks with made-up weights, engine by engine.

It takes hours and 25 GB under build/. What is measured is kept after each engine, so an
interrupted run goes on where it ended; --again begins anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from network_case import ALL_CANDIDATES, NetworkCase, missing_libraries
from network_rows import PUBLISHED, network_rows
from run import line, processor
from side_by_side import Row

NETWORKS = (
    ('dune_base', 'DUNE base 448x336', (336, 448)),
    ('mast3r_large', 'MASt3R large 512x384', (384, 512)),
)
OUTPUT = Path('build/bench_full.json')


def main() -> int:
    """Measure what is not measured yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--again', action='store_true', help='forget what was measured')
    parser.add_argument('--output', type=Path, default=OUTPUT)
    arguments = parser.parse_args()
    missing = missing_libraries()
    if missing:
        sys.exit(f'needs {", ".join(missing)}')
    done = {} if arguments.again else _read(arguments.output)
    for name, title, shape in NETWORKS:
        case = NetworkCase('full', title, name, shape)
        for candidate in ALL_CANDIDATES:
            key = f'{title}, {candidate.name}'
            if key in done:
                print(f'{key}: measured before', flush=True)
                continue
            rows = list(network_rows(case, (candidate,)))
            for row in rows:
                print(line(row), flush=True)
            if all(isinstance(row, Row) for row in rows):
                done[key] = [row.as_dict() for row in rows]
                _write(arguments.output, done)
    return 0


def _read(path: Path) -> dict[str, Any]:
    """Return what was measured on this machine against the same other side."""
    try:
        report = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    is_same = all(report.get(name) == value for name, value in _conditions().items())
    return dict(report['rows']) if is_same else {}


def _conditions() -> dict[str, str]:
    return {'processor': processor(), 'other': PUBLISHED}


def _write(path: Path, done: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {'command': 'make bench-full', **_conditions(), 'rows': done}
    unfinished = path.with_suffix('.unfinished')
    unfinished.write_text(json.dumps(report, indent=2) + '\n', encoding='utf-8')
    unfinished.replace(path)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print('Interrupted; make bench-full goes on from here.', file=sys.stderr)
        sys.exit(130)
