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
    from mast3r_ros.core.results import Output, Timing

_EXAMPLES = """\
  mast3r-benchmark --backend geometric
  mast3r-benchmark --backend geometric --size 512x384 --size 640x480 --iterations 50
  mast3r-benchmark --backend geometric --outputs cloud --json > times.json
  mast3r-benchmark --backend geometric --iterations 200 --histogram latency.png
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
    parser.add_argument(
        '--profile',
        action='store_true',
        help='count the operations of each stage and hold their speed against that of a plain '
        'matrix product in float32 on this machine',
    )
    parser.add_argument(
        '--histogram',
        metavar='PNG',
        help='draw how long the pairs took, one picture for all sizes',
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of tables')
    return run_command(parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    from mast3r_ros.cli.picture_file import check_picture_file
    from mast3r_ros.core.benchmark import time_pairs
    from mast3r_ros.engines.registry import get_runtime

    if arguments.histogram:
        check_picture_file(arguments.histogram)
    reports, timings = [], []
    with get_runtime(engine_config(arguments)) as engine:
        outputs = _outputs(arguments.outputs, engine)
        for size in arguments.size or [(640, 480)]:
            timing = time_pairs(engine, arguments.iterations, size, outputs)
            reports.append(_report(engine, size, timing))
            timings.append(timing)
            if arguments.profile:
                reports[-1]['profile'] = _profile(engine, size, timing, outputs)
            if not arguments.json:
                print(_table(reports[-1]), flush=True)
    if arguments.histogram:
        _draw(arguments.histogram, reports, timings)
    if arguments.json:
        print(json.dumps(reports, indent=2))
    elif arguments.histogram:
        print(f'histogram: {arguments.histogram}')
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


def _profile(
    engine: EngineInterface, size: tuple[int, int], timing: Timing, outputs: Output
) -> dict[str, Any]:
    from mast3r_ros.core.benchmark import made_up_views
    from mast3r_ros.engines.stage_profile import profile_pair

    found = profile_pair(engine, made_up_views(*size)[:2], timing, outputs)
    return {
        'peak_gflops': found.peak_flops_per_s / 1e9,
        'stages': {
            stage.name: {
                'gflop': stage.flops / 1e9,
                'ms': stage.time_ms,
                'gflops': stage.flops_per_s / 1e9,
                'share_of_peak': stage.share,
            }
            for stage in (*found.stages, found.whole)
        },
    }


def _profile_lines(profile: dict[str, Any]) -> list[str]:
    peak = profile['peak_gflops']
    lines = [
        f'  a product in float32 reaches {peak:.0f} GFLOP/s here',
        f'  {"stage":<14}{"GFLOP":>10}{"ms":>10}{"GFLOP/s":>10}{"of it":>10}',
    ]
    return lines + [
        f'  {stage:<14}{value["gflop"]:>10.1f}{value["ms"]:>10.1f}{value["gflops"]:>10.0f}'
        f'{value["share_of_peak"]:>10.0%}'
        for stage, value in profile['stages'].items()
    ]


def _summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    p99 = ordered[min(len(ordered) - 1, round(0.99 * (len(ordered) - 1)))]
    return {'median': statistics.median(ordered), 'p99': p99, 'min': ordered[0]}


def _draw(path: str, reports: list[dict[str, Any]], timings: list[Timing]) -> None:
    from mast3r_ros.cli.picture_file import save_picture
    from mast3r_ros.viewer.histogram import Times, draw_histograms

    measured = [
        Times(_head(report), timing.stages_ms['total'])
        for report, timing in zip(reports, timings, strict=True)
    ]
    save_picture(path, draw_histograms(measured))


def _head(report: dict[str, Any]) -> str:
    return (
        f'{report["engine"]} on {report["device"]}, {report["precision"]}, '
        f'{report["width"]}x{report["height"]}'
    )


def _table(report: dict[str, Any]) -> str:
    head = f'{_head(report)}, {report["iterations"]} pairs'
    lines = [head, f'  {"stage":<14}{"median":>10}{"p99":>10}{"min":>10}   milliseconds']
    for stage, value in report['stages_ms'].items():
        lines.append(
            f'  {stage:<14}{value["median"]:>10.2f}{value["p99"]:>10.2f}{value["min"]:>10.2f}'
        )
    rate = 1e3 / report['stages_ms']['total']['median']
    profile = _profile_lines(report['profile']) if 'profile' in report else []
    return '\n'.join([*lines, f'  {rate:.1f} pairs/s', *profile])


if __name__ == '__main__':
    sys.exit(main())
