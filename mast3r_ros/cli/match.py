# SPDX-License-Identifier: Apache-2.0
"""mast3r-match: matches, a picture of them and a cloud, from two image files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_ros.cli.command import add_engine_options, engine_config, make_parser, run_command
from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.core.products import PairResult
    from mast3r_ros.core.views import View

_EXAMPLES = """\
  mast3r-match left.png right.png --backend geometric
  mast3r-match a.jpg b.jpg --backend geometric --picture pair.png --cloud pair.ply
  mast3r-match a.jpg b.jpg --backend geometric --mask-1 person.png --json
  mast3r-match left.png right.png --backend geometric --cloud metres.ply \\
      --calibration-1 left.yaml --calibration-2 right.yaml
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        'mast3r-match',
        'Match two images, which may differ in size and orientation; draw the matches, and write '
        'the cloud if asked.',
        _EXAMPLES,
    )
    parser.add_argument('image_1', metavar='A', help='first image; the cloud lies in its camera')
    parser.add_argument('image_2', metavar='B', help='second image')
    parser.add_argument('--mask-1', metavar='FILE', help='mask of A: black takes no part')
    parser.add_argument('--mask-2', metavar='FILE', help='mask of B: black takes no part')
    parser.add_argument('--calibration-1', metavar='YAML', help='ROS camera calibration of A')
    parser.add_argument('--calibration-2', metavar='YAML', help='ROS camera calibration of B')
    parser.add_argument(
        '--rectified', action='store_true', help='the images are rectified: use P, no distortion'
    )
    parser.add_argument(
        '--picture',
        metavar='PNG',
        default='matches.png',
        help="where the picture of the matches goes, '' for none (matches.png)",
    )
    parser.add_argument('--cloud', metavar='PLY', help='write the coloured cloud here')
    parser.add_argument('--json', action='store_true', help='print JSON instead of text')
    add_engine_options(parser)
    return run_command(parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    from mast3r_ros.core.pipeline import Pipeline
    from mast3r_ros.core.products import Product
    from mast3r_ros.core.worker import EngineWorker
    from mast3r_ros.engines.registry import get_runtime

    config = engine_config(arguments)
    view_1 = _view(arguments, 1)
    view_2 = _view(arguments, 2)
    with EngineWorker(lambda: get_runtime(config)) as worker:
        worker.wait_ready()
        pipeline = Pipeline(worker, config)
        pipeline.wanted = Product.MATCHES | (
            Product.CLOUD_1 if arguments.cloud else Product.NOTHING
        )
        pipeline.pair_up('left', view_1)
        (pair,) = pipeline.pair_up('right', view_2)
        result = pipeline.process(pair)
    report = _write(arguments, result)
    print(json.dumps(report, indent=2) if arguments.json else _as_text(report))
    return 0


def _view(arguments: argparse.Namespace, number: int) -> View:
    from mast3r_ros.core.calibration_files import load_camera
    from mast3r_ros.core.images import load_image, load_mask
    from mast3r_ros.core.views import View

    options = vars(arguments)
    path, mask = options[f'image_{number}'], options[f'mask_{number}']
    calibration = options[f'calibration_{number}']
    try:
        return View(
            load_image(path),
            load_camera(calibration, rectified=arguments.rectified) if calibration else None,
            load_mask(mask) if mask else None,
        )
    except InvalidInput as error:
        raise InvalidInput(f'image {number}: {error}') from error


def _write(arguments: argparse.Namespace, result: PairResult) -> dict[str, Any]:
    """Write picture and cloud, and return what there is to say."""
    from mast3r_ros.core.match_picture import draw_matches
    from mast3r_ros.core.ply import write_ply

    matches, cloud = result.matches, result.cloud_1
    report: dict[str, Any] = {
        'matches': len(matches) if matches is not None else 0,
        'confidence_kind': matches.confidence_kind if matches is not None else '',
        'scale_source': result.scale.source.value,
        'timing_ms': {stage: round(value, 3) for stage, value in result.timing_ms.items()},
        'notes': list(result.notes),
    }
    if arguments.picture and matches is not None:
        pair = result.pair
        picture = draw_matches(pair.view_1.image, pair.view_2.image, matches.uv_1, matches.uv_2)
        report['picture'] = _save_picture(arguments.picture, picture)
    if arguments.cloud and cloud is not None:
        report['points'] = write_ply(
            arguments.cloud, cloud.points, cloud.grid.image, cloud.confidence
        )
        report['cloud'] = arguments.cloud
    return report


def _save_picture(path: str, picture: Any) -> str:
    from PIL import Image

    try:
        Image.fromarray(picture).save(path)
    except ValueError as error:
        ending = Path(path).suffix or 'no ending'
        raise InvalidInput(f'cannot write {path} ({ending}); end its name with .png') from error
    return path


def _as_text(report: dict[str, Any]) -> str:
    unit = 'without a known scale' if report['scale_source'] == 'none' else 'in metres'
    lines = [f'{report["matches"]} matches (confidence: {report["confidence_kind"] or "none"})']
    if 'picture' in report:
        lines.append(f'picture: {report["picture"]}')
    if 'cloud' in report:
        lines.append(f'cloud: {report["cloud"]}, {report["points"]} points {unit}')
    lines += [f'note: {note}' for note in report['notes']]
    return '\n'.join(lines)


if __name__ == '__main__':
    sys.exit(main())
