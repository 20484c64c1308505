# SPDX-License-Identifier: Apache-2.0
"""mast3r-validate: one engine or precision held against another on the same pictures."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_ros.cli.command import EXIT_FAILED, make_parser, run_command, size_option
from mast3r_ros.cli.progress import Progress
from mast3r_ros.errors import ModelError
from mast3r_ros.models.proofs import (
    LEAST_DESCRIPTOR_COSINE,
    LEAST_MATCH_OVERLAP,
    MOST_POINT_ERROR,
)

if TYPE_CHECKING:
    from mast3r_ros.export.validation import EngineChoice, Outcome

_NAME = 'mast3r-validate'
_EXAMPLES = """\
  mast3r-validate --reference onnxruntime:fp32 --candidate onnxruntime:int8 \\
      --variant dune_vit_small left.png right.png
  mast3r-validate --reference pytorch:fp32 --candidate onnxruntime --model models/dune
  mast3r-validate --reference onnxruntime --candidate onnxruntime --model models/dune/fp32 \\
      --model-2 models/dune/int8 --min-cosine 0.99 --json a.png b.png c.png d.png
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        _NAME,
        'Compare the answers of two engines or precisions, judge them by limits and record the '
        "outcome in the candidate's model. An int8 model is taken by auto only after it has "
        'passed on real pictures, against fp32 of the same weights, with limits no laxer than '
        'the usual ones.',
        _EXAMPLES,
    )
    parser.add_argument(
        'images',
        nargs='*',
        metavar='IMAGE',
        help='pictures, two by two; of any size, they are cut to the network input',
    )
    parser.add_argument(
        '--reference', required=True, metavar='ENGINE', help='as pytorch:fp32 or onnxruntime'
    )
    parser.add_argument('--candidate', required=True, metavar='ENGINE', help='as onnxruntime:int8')
    parser.add_argument(
        '--model',
        metavar='DIR',
        help="the reference's model folder, or one that holds fp32, int8, ... (in the cache)",
    )
    parser.add_argument(
        '--model-2', metavar='DIR', help="the candidate's, where it is another (--model)"
    )
    parser.add_argument('--variant', default='dune_vit_small', help='network in the cache')
    parser.add_argument(
        '--cache-dir', type=Path, metavar='DIR', help='folder of models and of what engines keep'
    )
    parser.add_argument(
        '--size', type=size_option, metavar='WxH', help='network input (the first of the model)'
    )
    _add_limits(parser)
    parser.add_argument('--no-record', action='store_true', help='leave the model as it is')
    parser.add_argument('--json', action='store_true', help='print JSON instead of a table')
    return run_command(parser, _run, argv)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('limits', 'one that does not hold is a failure')
    group.add_argument(
        '--min-cosine',
        type=float,
        default=LEAST_DESCRIPTOR_COSINE,
        metavar='C',
        help=f'of descriptors in the pixel worse than 99 of 100 ({LEAST_DESCRIPTOR_COSINE:g})',
    )
    group.add_argument(
        '--max-point-error',
        type=float,
        default=MOST_POINT_ERROR,
        metavar='E',
        help='distance of the points over their range, in the middle pixel '
        f'({MOST_POINT_ERROR:g})',
    )
    group.add_argument(
        '--min-overlap',
        type=float,
        default=LEAST_MATCH_OVERLAP,
        metavar='S',
        help=f"share of the reference's matches found again ({LEAST_MATCH_OVERLAP:g})",
    )


def _run(arguments: argparse.Namespace) -> int:
    from mast3r_ros.export.comparison import Limits
    from mast3r_ros.export.validation import parse_engine, picture_pairs, validate

    model = Path(arguments.model) if arguments.model else _in_cache(arguments)
    cache = arguments.cache_dir
    reference = parse_engine(arguments.reference, model, cache)
    candidate = parse_engine(arguments.candidate, Path(arguments.model_2 or model), cache)
    pairs = picture_pairs(arguments.images)
    limits = Limits(arguments.min_cosine, arguments.max_point_error, arguments.min_overlap)
    shape = arguments.size[::-1] if arguments.size else None
    progress = Progress(sys.stderr, _NAME)
    try:
        if not pairs:
            progress.say(
                'no pictures are given: the built-in pair is used. It is no real picture, so the '
                'outcome says whether the engines agree, not whether int8 is good enough'
            )
        outcome = validate(reference, candidate, pairs, limits, shape, progress.show)
    finally:
        progress.close()
    # First of all: minutes of work are not to be lost because a folder cannot be written.
    text = json.dumps(_facts(outcome), indent=2) if arguments.json else _as_text(outcome)
    print(text, flush=True)
    if not arguments.no_record:
        _record(outcome, candidate, progress)
    return 0 if outcome.passed else EXIT_FAILED


def _record(outcome: Outcome, candidate: EngineChoice, progress: Progress) -> None:
    """Keep the outcome in the candidate's model and say if auto will not go by it."""
    from mast3r_ros.export.validation import faults_as_proof, record

    try:
        record(outcome, candidate)
    except OSError as error:
        raise ModelError(
            f'the outcome cannot be kept in {candidate.folder}: {error.strerror}; make the '
            'folder writable, or give --no-record'
        ) from error
    faults = faults_as_proof(outcome, candidate)
    if outcome.passed and outcome.candidate.precision.startswith('int8') and faults:
        progress.say(f'auto does not take the int8 model for that: {"; ".join(faults)}')


def _in_cache(arguments: argparse.Namespace) -> Path:
    from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig
    from mast3r_ros.models.folder import default_place

    cache = MASt3RRuntimeConfig(
        cache_dir=arguments.cache_dir, model=ModelConfig(variant=arguments.variant)
    )
    return default_place(cache)


def _facts(outcome: Outcome) -> dict[str, Any]:
    return {
        'candidate': f'{outcome.candidate.name}:{outcome.candidate.precision}',
        **outcome.details,
        'pairs': len(outcome.pairs),
        'real_pictures': outcome.real_pictures,
        'passed': outcome.passed,
        'broken': list(outcome.broken),
    }


def _as_text(outcome: Outcome) -> str:
    facts, figures = _facts(outcome), outcome.figures
    count = f'{len(outcome.pairs)} pair{"s" if len(outcome.pairs) > 1 else ""}'
    what = count if outcome.real_pictures else 'the built-in pair'
    lines = [f'{facts["candidate"]} against {facts["reference"]}, {facts["size"]}, {what}']
    lines += [f'  {name:<14}{error:>12.2e}' for name, error in figures.errors.items()]
    limits = facts['limits']
    for title, value, rule, limit in (
        ('descriptor cosine p50', figures.descriptor_cosine_p50, '', None),
        ('descriptor cosine p01', figures.descriptor_cosine_p01, '>=', 'descriptor_cosine_p01'),
        ('match overlap', figures.match_overlap, '>=', 'match_overlap'),
        ('median point error', figures.point_error_p50, '<=', 'point_error_p50'),
    ):
        if value is not None:
            asked = f'   {rule} {limits[limit]:g}' if limit else ''
            lines.append(f'  {title:<24}{value:>12.6f}{asked}')
    lines += [f'  failed: {sentence}' for sentence in outcome.broken]
    return '\n'.join([*lines, 'passed' if outcome.passed else 'FAILED'])


if __name__ == '__main__':
    sys.exit(main())
