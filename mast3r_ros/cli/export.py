# SPDX-License-Identifier: Apache-2.0
"""mast3r-export: from published weights to a model folder that every engine runs."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_ros.choices import ModelVariant, Precision
from mast3r_ros.cli import target_coreml, target_tensorrt
from mast3r_ros.cli.command import make_parser, run_command, size_option
from mast3r_ros.cli.lasting_interrupt import LastingInterrupt
from mast3r_ros.cli.progress import Progress
from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.config import MASt3RRuntimeConfig
    from mast3r_ros.export.calibration import PicturePairs
    from mast3r_ros.export.exporter import ExportReport, ExportRequest
    from mast3r_ros.export.source import ModelSource
    from mast3r_ros.models.description import Shape

_NAME = 'mast3r-export'
_PRECISIONS = tuple(item.value for item in Precision if item is not Precision.AUTO)
_USUAL_IMAGE = (640, 480)
_EXAMPLES = """\
  mast3r-export --variant dune_vit_small
  mast3r-export --variant mast3r_vit_large --size 512x384 --size 512x288
  mast3r-export --variant dune_vit_base --image-size 1280x720 --resolution 448 --precision fp16
  mast3r-export --variant mast3r_vit_large --size 512x384 --size-2 384x512
  mast3r-export --variant dune_vit_small --precision int8 --calibrate flight_1/ a.png b.png
  mast3r-export --variant dune_vit_small --precision fp16 --target tensorrt
  mast3r-export --variant dune_vit_small --precision fp16 --target coreml
  mast3r-export --variant dune_vit_small --with-preprocessing 640x480 --with-matching
  mast3r-export --checkpoint dunemast3r_cvpr25_vitsmall.pth --encoder dune_vitsmall14_448.pth \\
      --size 336x252 --output models/dune
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        _NAME,
        'Turn the published weights of a network into a model folder: ONNX graphs of fixed sizes '
        'and one file of weights. Sizes that come later are added to the same folder.',
        _EXAMPLES,
    )
    _add_weights_options(parser)
    _add_size_options(parser)
    parser.add_argument(
        '--precision',
        choices=_PRECISIONS,
        help='of the trunk (fp32; a target takes what is there); int8_fp16 is for TensorRT',
    )
    parser.add_argument(
        '--calibrate',
        nargs='+',
        default=[],
        metavar='PATH',
        help='what int8 finds its ranges with: pictures two by two, bags, or simulator',
    )
    parser.add_argument(
        '--output', metavar='DIR', help='the model folder (models/VARIANT/PRECISION in the cache)'
    )
    parser.add_argument('--cache-dir', metavar='DIR', help='folder of weights and models')
    parser.add_argument(
        '--overwrite', action='store_true', help='replace the model there instead of adding to it'
    )
    parser.add_argument(
        '--target',
        choices=(target_tensorrt.NAME, target_coreml.NAME),
        help='of a model that is there already, make engines of TensorRT for this machine, or '
        "packages for Apple's",
    )
    target_tensorrt.add_build_options(parser)
    target_coreml.add_conversion_options(parser)
    _add_graph_options(parser)
    parser.add_argument('--json', action='store_true', help='print JSON instead of text')
    return run_command(parser, _run, argv)


def _add_weights_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('weights', 'those that mast3r-download fetched, or files')
    group.add_argument('--variant', type=_variant, metavar='NAME', help='network (dune_vit_small)')
    group.add_argument('--checkpoint', metavar='FILE', help='.pth or .safetensors')
    group.add_argument('--encoder', metavar='FILE', help="for a DUNE network the encoder's file")
    group.add_argument(
        '--allow-unofficial-pair',
        action='store_true',
        help='take a DUNE encoder that is not shown to be the one of the decoder',
    )
    group.add_argument(
        '--made-up', action='store_true', help='the weights are made up, for tests: engines say so'
    )


def _add_size_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('sizes', 'each option may be given several times')
    group.add_argument(
        '--size',
        type=size_option,
        action='append',
        default=[],
        metavar='WxH',
        help='of the network input; both sides are multiples of the patch',
    )
    group.add_argument(
        '--size-2',
        type=size_option,
        action='append',
        default=[],
        metavar='WxH',
        help='of the input of view 2, where it differs from view 1',
    )
    group.add_argument(
        '--image-size',
        type=size_option,
        action='append',
        default=[],
        metavar='WxH',
        help='of a camera image instead: the input follows by the published rule (640x480)',
    )
    group.add_argument(
        '--resolution',
        type=int,
        metavar='PX',
        help='long side of the input for --image-size (what the variant is meant for)',
    )


def _add_graph_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        'graphs for accelerators', 'beside the model, in its folder accelerator/'
    )
    group.add_argument(
        '--with-preprocessing',
        type=size_option,
        action='append',
        default=[],
        metavar='WxH',
        help="from a camera's picture of this size to the input; may be given several times",
    )
    group.add_argument(
        '--with-matching',
        action='store_true',
        help="from both views' descriptors to reciprocal matches, for every size of the model",
    )


def _run(arguments: argparse.Namespace) -> int:
    if arguments.target == target_tensorrt.NAME:
        return target_tensorrt.build_engines(arguments, _NAME)
    if arguments.target == target_coreml.NAME:
        return target_coreml.convert(arguments, _NAME)
    from mast3r_ros.export.exporter import export_model
    from mast3r_ros.export.libraries import require_exporter

    start_s = time.monotonic()
    require_exporter()
    progress = Progress(sys.stderr, _NAME)

    def show(fraction: float, text: str) -> None:
        interrupt.check()  # the exporter's libraries may have swallowed it
        progress.show(fraction, text)

    try:
        with LastingInterrupt() as interrupt:
            show(0.0, 'reading the weights')
            request = _request(arguments)
            if arguments.with_preprocessing or arguments.with_matching:
                _check_accelerator_graphs(arguments, request)
            report = export_model(request, show)
    finally:
        progress.close()
    graphs = _accelerator_graphs(arguments, report.folder)
    facts = {**_facts(request, report, time.monotonic() - start_s), 'accelerator': graphs}
    print(json.dumps(facts, indent=2) if arguments.json else _as_text(facts))
    return 0


def _request(arguments: argparse.Namespace) -> ExportRequest:
    from mast3r_ros.export.exporter import ExportRequest
    from mast3r_ros.models.folder import default_place

    config = _settings(arguments)
    source = _source(arguments, config.cache_folder)
    precision = Precision(arguments.precision or Precision.FP32)
    config = config.replace(model=config.model.replace(variant=source.variant))
    folder = arguments.output or default_place(config) / precision.value
    pairs = _pairs(arguments, source)
    return ExportRequest(
        source,
        pairs,
        precision,
        Path(folder).expanduser(),
        overwrite=arguments.overwrite,
        pictures=_calibration(arguments),
    )


def _check_accelerator_graphs(arguments: argparse.Namespace, request: ExportRequest) -> None:
    from mast3r_ros.export.accelerator_graphs import check_wanted

    check_wanted(request, arguments.with_preprocessing, arguments.with_matching)


def _accelerator_graphs(arguments: argparse.Namespace, folder: Path) -> list[str]:
    """Write the graphs that are asked for and return where they are."""
    if not arguments.with_preprocessing and not arguments.with_matching:
        return []
    from mast3r_ros.export.accelerator_graphs import wanted_graphs, write_graphs
    from mast3r_ros.models.folder import ModelFolder

    model = ModelFolder.open(folder)
    wanted = wanted_graphs(model, arguments.with_preprocessing, arguments.with_matching)
    return [str(path) for path in write_graphs(model, wanted)]


def _calibration(arguments: argparse.Namespace) -> PicturePairs:
    if not arguments.calibrate:
        return []
    from mast3r_ros.cli.calibration_pictures import calibration_pairs
    from mast3r_ros.export.card_int8 import require_runner
    from mast3r_ros.export.static_int8 import require_quantiser

    (require_runner if arguments.precision == Precision.INT8_FP16 else require_quantiser)()
    return calibration_pairs(arguments.calibrate, lambda text: print(text, file=sys.stderr))


def _source(arguments: argparse.Namespace, cache: Path) -> ModelSource:
    from mast3r_ros.export.source import ModelSource, checkpoint_in_cache
    from mast3r_ros.models.catalogue import published_model
    from mast3r_ros.models.checkpoint_records import verify_recorded
    from mast3r_ros.models.checkpoints import read_checkpoint

    variant: ModelVariant | None = arguments.variant
    path, encoder = arguments.checkpoint, arguments.encoder
    if path is None:
        variant = variant or ModelVariant.DUNE_VIT_SMALL
        path, found = checkpoint_in_cache(variant, cache)
        encoder = encoder or found
    checkpoint = read_checkpoint(
        path, encoder, allow_unofficial_pair=arguments.allow_unofficial_pair
    )
    if variant is not None:
        published_model(variant).check(checkpoint.architecture)
    for file in checkpoint.sources:
        verify_recorded(file)
    return ModelSource(checkpoint, variant, seeded=arguments.made_up)


def _pairs(arguments: argparse.Namespace, source: ModelSource) -> list[tuple[Shape, Shape]]:
    from mast3r_ros.export.sizes import input_shape, shape_for_image

    patch_px = source.architecture.patch_px
    if arguments.size_2 and not arguments.size:
        raise InvalidInput('--size-2 is the size of view 2; give that of view 1 as --size')
    if arguments.resolution and arguments.size and not arguments.image_size:
        raise InvalidInput('--resolution goes with --image-size; --size is the input itself')
    images = arguments.image_size or ([] if arguments.size else [_USUAL_IMAGE])
    shapes = [input_shape(size, patch_px) for size in arguments.size]
    others = [input_shape(size, patch_px) for size in arguments.size_2]
    alike = [shape_for_image(size, source.variant, arguments.resolution) for size in images]
    pairs = [(one, other) for one in shapes for other in others or [one]]
    return [*pairs, *((shape, shape) for shape in alike)]


def _settings(arguments: argparse.Namespace) -> MASt3RRuntimeConfig:
    from mast3r_ros.config import MASt3RRuntimeConfig

    return MASt3RRuntimeConfig(cache_dir=arguments.cache_dir)


def _facts(request: ExportRequest, report: ExportReport, seconds: float) -> dict[str, Any]:
    return {
        'folder': str(report.folder),
        'variant': request.source.variant.value,
        'precision': request.precision.value,
        'sizes': list(report.errors),
        'there_already': report.there,
        'relative_errors': report.errors,
        'weights_bytes': report.weights_bytes,
        'notes': report.notes,
        'seconds': round(seconds, 1),
        'peak_memory_bytes': _peak_memory_bytes(),
    }


def _peak_memory_bytes() -> int:
    """Return the most memory this process had, mapped files included."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == 'darwin' else peak * 1024


def _as_text(facts: dict[str, Any]) -> str:
    lines = [f'{facts["variant"]} {facts["precision"]}: {facts["folder"]}']
    for size, error in facts['relative_errors'].items():
        said = 'not run' if error is None else f'within {error:.1e} of PyTorch in float32'
        lines.append(f'  {size} (height x width): {said}')
    lines += [f'  {size} (height x width): was there already' for size in facts['there_already']]
    lines += [f'  for accelerators: {path}' for path in facts['accelerator']]
    lines += [f'note: {note}' for note in facts['notes']]
    weights, peak = facts['weights_bytes'] / 1e6, facts['peak_memory_bytes'] / 1e9
    return '\n'.join(
        [*lines, f'{weights:.0f} MB of weights, {facts["seconds"]:.0f} s, {peak:.1f} GB of memory']
    )


def _variant(text: str) -> ModelVariant:
    try:
        return ModelVariant(text)
    except ValueError:
        known = ', '.join(item.value for item in ModelVariant)
        raise argparse.ArgumentTypeError(f'{text!r} is none of {known}') from None


if __name__ == '__main__':
    sys.exit(main())
