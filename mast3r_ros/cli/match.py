# SPDX-License-Identifier: Apache-2.0
"""mast3r-match: matches, a cloud and pictures of all there is to see, from two image files."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mast3r_ros.cli.command import add_engine_options, engine_config, make_parser, run_command
from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.core.depth_error import DepthError
    from mast3r_ros.core.products import Cloud, PairResult
    from mast3r_ros.core.results import FloatArray
    from mast3r_ros.core.views import ImageArray, View

_EXAMPLES = """\
  mast3r-match left.png right.png --backend geometric
  mast3r-match a.jpg b.jpg --backend geometric --picture pair.png --cloud pair.ply
  mast3r-match a.jpg b.jpg --backend geometric --mask-1 person.png --json
  mast3r-match left.png right.png --backend geometric --cloud metres.ply \\
      --calibration-1 left.yaml --calibration-2 right.yaml
  mast3r-match left.png right.png --backend geometric --depth depth.png \\
      --confidence confidence.png --truth true_depth.npy --error error.png
"""
_OF_THE_CLOUD = ('cloud', 'depth', 'confidence', 'error', 'truth')  # options that need it
_MAPS = ('depth', 'confidence', 'error')


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
    _add_map_options(parser)
    parser.add_argument('--json', action='store_true', help='print JSON instead of text')
    add_engine_options(parser)
    return run_command(parser, _run, argv)


def _add_map_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('maps of A, with a scale; striped where there is no value')
    group.add_argument('--depth', metavar='PNG', help='draw its depth; near is bright')
    group.add_argument('--confidence', metavar='PNG', help='draw its confidence')
    group.add_argument('--error', metavar='PNG', help='draw the error of its depth; needs --truth')
    group.add_argument(
        '--truth',
        metavar='FILE',
        help='true depth of A: .npy or .pfm in metres, or .png of 16 bits; tells the error',
    )
    group.add_argument(
        '--truth-steps',
        type=float,
        default=1000.0,
        metavar='N',
        help='what a .png of the truth holds for a metre (1000: millimetres)',
    )


def _run(arguments: argparse.Namespace) -> int:
    from mast3r_ros.cli.picture_file import check_picture_file
    from mast3r_ros.core.pipeline import Pipeline
    from mast3r_ros.core.products import Product
    from mast3r_ros.core.worker import EngineWorker
    from mast3r_ros.engines.registry import get_runtime

    for name in ('picture', *_MAPS):
        if vars(arguments)[name]:
            check_picture_file(vars(arguments)[name])
    config = engine_config(arguments)
    truth = _truth(arguments)
    view_1 = _view(arguments, 1)
    view_2 = _view(arguments, 2)
    with EngineWorker(lambda: get_runtime(config)) as worker:
        worker.wait_ready()
        pipeline = Pipeline(worker, config)
        of_cloud = any(vars(arguments)[name] for name in _OF_THE_CLOUD)
        pipeline.wanted = Product.MATCHES | (Product.CLOUD_1 if of_cloud else Product.NOTHING)
        pipeline.pair_up('left', view_1)
        (pair,) = pipeline.pair_up('right', view_2)
        result = pipeline.process(pair)
    report = _write(arguments, result)
    if of_cloud:
        report |= _write_maps(arguments, result, truth)
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


def _truth(arguments: argparse.Namespace) -> FloatArray | None:
    from mast3r_ros.core.depth_files import load_depth

    if arguments.error and not arguments.truth:
        raise InvalidInput('--error needs the true depth; give it with --truth FILE')
    if not arguments.truth:
        return None
    return load_depth(arguments.truth, arguments.truth_steps)


def _write(arguments: argparse.Namespace, result: PairResult) -> dict[str, Any]:
    """Write picture and cloud, and return what there is to say."""
    from mast3r_ros.cli.picture_file import save_picture
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
        report['picture'] = save_picture(arguments.picture, picture)
    if arguments.cloud and cloud is not None:
        report['points'] = write_ply(
            arguments.cloud, cloud.points, cloud.grid.image, cloud.confidence
        )
        report['cloud'] = arguments.cloud
    return report


def _write_maps(
    arguments: argparse.Namespace, result: PairResult, truth: FloatArray | None
) -> dict[str, Any]:
    """Draw what is asked for of depth, confidence and error, and return what there is to say."""
    from mast3r_ros.cli.picture_file import save_picture
    from mast3r_ros.viewer import result_pictures

    cloud = result.cloud_1
    if cloud is None:
        raise InvalidInput('the pair has no points: its engine gives matches alone')
    pictures: dict[str, ImageArray] = {}
    report: dict[str, Any] = {}
    if arguments.depth:
        pictures['depth'] = result_pictures.depth_picture(result, cloud)
        report['depth_unit'] = result_pictures.depth_unit(result)[0]
    if arguments.confidence:
        pictures['confidence'] = result_pictures.confidence_picture(cloud)
    if truth is not None:
        found = _error(result, cloud, truth)
        report['depth_error'] = _described(found)
        if arguments.error:
            pictures['error'] = result_pictures.error_picture(found)
    for name, picture in pictures.items():
        report[name] = save_picture(vars(arguments)[name], picture)
    return report


def _error(result: PairResult, cloud: Cloud, truth: FloatArray) -> DepthError:
    from mast3r_ros.core.depth_error import depth_error
    from mast3r_ros.core.results import ScaleSource

    view, metric = result.pair.view_1, result.scale.source is not ScaleSource.NONE
    return depth_error(cloud.depth, cloud.grid, view, truth, unit_known=metric)


def _described(found: DepthError) -> dict[str, Any]:
    """Return the figures of an error; null where no pixel has both depths."""
    known = found.covered > 0.0
    return {
        'median_m': found.quantile(0.5) if known else None,
        'p90_m': found.quantile(0.9) if known else None,
        'covered': found.covered,
        'scaled_by': found.factor,
    }


def _as_text(report: dict[str, Any]) -> str:
    unit = 'without a known scale' if report['scale_source'] == 'none' else 'in metres'
    lines = [f'{report["matches"]} matches (confidence: {report["confidence_kind"] or "none"})']
    if 'picture' in report:
        lines.append(f'picture: {report["picture"]}')
    if 'cloud' in report:
        lines.append(f'cloud: {report["cloud"]}, {report["points"]} points {unit}')
    lines += [f'{name}: {report[name]}' for name in _MAPS if name in report]
    if 'depth_error' in report:
        lines.append(_error_line(report['depth_error']))
    lines += [f'note: {note}' for note in report['notes']]
    return '\n'.join(lines)


def _error_line(found: dict[str, Any]) -> str:
    if found['median_m'] is None:
        return 'error of the depth: no pixel has both a depth and a true one'
    scaled = found['scaled_by']
    before = f'scaled by {scaled:.4g} to fit, ' if scaled != 1.0 else ''
    return (
        f'error of the depth: {before}median {found["median_m"]:.3g} m, 90 % below '
        f'{found["p90_m"]:.3g} m; {100 * found["covered"]:.1f} % of the true depth is covered'
    )


if __name__ == '__main__':
    sys.exit(main())
