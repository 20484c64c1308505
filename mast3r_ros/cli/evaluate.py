# SPDX-License-Identifier: Apache-2.0
"""mast3r-evaluate: a trajectory held against the true one: ATE, RPE and pictures of both."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_ros.cli.command import make_parser, run_command
from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.sequence.accuracy import Accuracy

_EXAMPLES = """\
  mast3r-evaluate run/trajectory.txt truth.txt
  mast3r-evaluate run/trajectory.txt truth.txt --align se3 --delta 10 --pictures plots
  mast3r-evaluate pred_traj.txt truth.txt --quaternion-first --json
"""
_TITLES = {
    'ate_m': 'ATE, position',
    'ate_deg': 'ATE, rotation (deg)',
    'rpe_m': 'RPE, position',
    'rpe_deg': 'RPE, rotation (deg)',
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        'mast3r-evaluate',
        'Compare a trajectory with the true one, both TUM files (t x y z qx qy qz qw): absolute '
        'errors after alignment and errors of the relative motion.',
        _EXAMPLES,
    )
    parser.add_argument('estimate', metavar='ESTIMATE', help='the trajectory, a TUM file')
    parser.add_argument('truth', metavar='TRUTH', help='the true one, a TUM file')
    parser.add_argument(
        '--align',
        choices=('both', 'se3', 'sim3'),
        default='both',
        help='without or with a free scale (both)',
    )
    parser.add_argument(
        '--delta', type=int, default=1, metavar='N', help='poses that RPE looks ahead (1)'
    )
    parser.add_argument(
        '--tolerance', type=float, default=0.02, metavar='S', help='of partners, stamps (0.02)'
    )
    parser.add_argument(
        '--offset', type=float, default=0.0, metavar='S', help="added to ESTIMATE's stamps (0)"
    )
    parser.add_argument(
        '--quaternion-first',
        action='store_true',
        help='ESTIMATE has qw before qx qy qz, as MonST3R writes it',
    )
    parser.add_argument('--pictures', metavar='DIR', help='draw path and errors into this folder')
    parser.add_argument('--json', action='store_true', help='print JSON instead of text')
    return run_command(parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    from mast3r_ros.sequence.accuracy import evaluate
    from mast3r_ros.sequence.trajectory import read_tum

    if arguments.delta < 1:
        raise InvalidInput(f'--delta is {arguments.delta}; give at least 1')
    if arguments.tolerance < 0.0:
        raise InvalidInput(f'--tolerance is {arguments.tolerance:g} s; give 0 or more')
    estimate = read_tum(arguments.estimate, quaternion_first=arguments.quaternion_first)
    truth = read_tum(arguments.truth)
    names = ('se3', 'sim3') if arguments.align == 'both' else (arguments.align,)
    results = {
        name: evaluate(
            estimate,
            truth,
            with_scale=name == 'sim3',
            delta=arguments.delta,
            tolerance_s=arguments.tolerance,
            offset_s=arguments.offset,
        )
        for name in names
    }
    first = results[names[0]]
    report: dict[str, Any] = {
        'poses': len(estimate),
        'compared': len(first.truth),
        'path_length': first.truth.length,
        'delta': arguments.delta,
        **{name: _described(accuracy) for name, accuracy in results.items()},
    }
    if arguments.pictures:
        report['pictures'] = _draw(Path(arguments.pictures), results)
    print(json.dumps(report, indent=2) if arguments.json else _as_text(report))
    return 0


def _described(accuracy: Accuracy) -> dict[str, Any]:
    statistics = {kind: asdict(values) for kind, values in accuracy.summary().items()}
    return {'scale': accuracy.alignment.scale, **statistics}


def _draw(folder: Path, results: dict[str, Accuracy]) -> list[str]:
    from PIL import Image

    from mast3r_ros.sequence.accuracy_picture import draw_errors, draw_paths

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, accuracy in results.items():
        for kind, draw in (('path', draw_paths), ('error', draw_errors)):
            path = folder / f'{kind}_{name}.png'
            Image.fromarray(draw(accuracy)).save(path)
            written.append(str(path))
    return written


def _as_text(report: dict[str, Any]) -> str:
    lines = [
        f'{report["compared"]} of {report["poses"]} poses have a true one; '
        f'the true path is {report["path_length"]:.3f} long'
    ]
    for name in ('se3', 'sim3'):
        if name not in report:
            continue
        part = report[name]
        lines.append(f'\naligned by {name}, scale {part["scale"]:.5f}')
        lines.append(f'{"":22}{"RMSE":>10}{"mean":>10}{"median":>10}{"max":>10}')
        for kind, title in _TITLES.items():
            values = ''.join(
                f'{part[kind][key]:10.4f}' for key in ('rmse', 'mean', 'median', 'max')
            )
            lines.append(f'{title:22}{values}')
    lines += [f'picture: {path}' for path in report.get('pictures', ())]
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
