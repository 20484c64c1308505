# SPDX-License-Identifier: Apache-2.0
"""mast3r-benchmark: how long an engine takes for a pair, stage by stage."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mast3r_ros.cli.command import (
    add_engine_options,
    engine_config,
    make_parser,
    run_command,
    size_option,
)

if TYPE_CHECKING:
    from mast3r_ros.core.engine import EngineInterface
    from mast3r_ros.core.results import Timing

_EXAMPLES = """\
  mast3r-benchmark --backend geometric
  mast3r-benchmark --backend geometric --size 512x384 --size 640x480 --iterations 50
  mast3r-benchmark --backend geometric --outputs cloud --json > times.json
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        'mast3r-benchmark',
        'Time an engine on a made-up stereo pair and print a table with one row a stage.',
        _EXAMPLES,
    )
    add_engine_options(parser)
    parser.add_argument(
        '--size',
        type=size_option,
        action='append',
        metavar='WxH',
        help='size of the images; may be given several times (default 640x480)',
    )
    parser.add_argument(
        '-n', '--iterations', type=int, default=20, help='pairs to time after one warm-up (20)'
    )
    parser.add_argument(
        '--outputs',
        choices=('all', 'cloud', 'matches'),
        default='all',
        help='what the engine is asked for (all)',
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of tables')
    return run_command(parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    from mast3r_ros.core.benchmark import time_pairs
    from mast3r_ros.engines.registry import get_runtime

    reports = []
    with get_runtime(engine_config(arguments)) as engine:
        outputs = _outputs(arguments.outputs, engine)
        for size in arguments.size or [(640, 480)]:
            timing = time_pairs(engine, arguments.iterations, size, outputs)
            reports.append(_report(engine, size, timing))
            if not arguments.json:
                print(_table(reports[-1]), flush=True)
    if arguments.json:
        print(json.dumps(reports, indent=2))
    return 0


def _outputs(name: str, engine: EngineInterface) -> Any:
    from mast3r_ros.core.results import Output, match_outputs

    wanted = {'all': Output.ALL, 'cloud': Output.CLOUD_1}
    return wanted.get(name) or match_outputs(engine.provides)


def _report(engine: EngineInterface, size: tuple[int, int], timing: Timing) -> dict[str, Any]:
    info = engine.describe()
    return {
        'engine': info.name,
        'device': info.device,
        'precision': info.precision,
        'width': size[0],
        'height': size[1],
        'iterations': timing.iterations,
        'stages_ms': {name: _summary(values) for name, values in timing.stages_ms.items()},
    }


def _summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    return {'median': statistics.median(ordered), 'p99': p99, 'min': ordered[0]}


def _table(report: dict[str, Any]) -> str:
    head = (
        f'{report["engine"]} on {report["device"]}, {report["precision"]}, '
        f'{report["width"]}x{report["height"]}, {report["iterations"]} pairs'
    )
    lines = [head, f'  {"stage":<14}{"median":>10}{"p99":>10}{"min":>10}   milliseconds']
    for stage, value in report['stages_ms'].items():
        lines.append(
            f'  {stage:<14}{value["median"]:>10.2f}{value["p99"]:>10.2f}{value["min"]:>10.2f}'
        )
    rate = 1e3 / report['stages_ms']['total']['median']
    return '\n'.join([*lines, f'  {rate:.1f} pairs/s'])


if __name__ == '__main__':
    sys.exit(main())
