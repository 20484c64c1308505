# SPDX-License-Identifier: Apache-2.0
"""mast3r-download: the published weights of a network, fetched with their licence accepted."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_ros.choices import ModelVariant
from mast3r_ros.cli.command import EXIT_INTERRUPTED, make_parser, run_command
from mast3r_ros.cli.progress import Progress

if TYPE_CHECKING:
    from mast3r_ros.models.catalogue import PublishedModel
    from mast3r_ros.models.download import DownloadOptions, FetchedFile
    from mast3r_ros.models.licences import WeightsLicence

MIRROR_VARIABLE = 'MAST3R_ROS_MIRROR'
_NAME = 'mast3r-download'
_EXAMPLES = """\
  mast3r-download --list
  mast3r-download --variant mast3r_vit_large
  mast3r-download --variant dust3r_512_dpt --source huggingface --accept-license
  mast3r-download --variant dune_vit_small --url https://mirror.example/weights
  mast3r-download --variant dune_vit_small --offline     # only check what is there
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        _NAME,
        'Fetch the published weights of a network. They are for non-commercial use; their licence '
        'is shown and asked about. A broken download goes on where it stopped.',
        _EXAMPLES,
    )
    parser.add_argument(
        '--variant',
        type=_variant,
        default=ModelVariant.DUNE_VIT_SMALL,
        metavar='NAME',
        help='network; --list shows all (dune_vit_small)',
    )
    parser.add_argument(
        '--list', action='store_true', help='show what can be had and what is here'
    )
    parser.add_argument(
        '--accept-license',
        action='store_true',
        help='accept the licence of the weights without being asked',
    )
    parser.add_argument(
        '--source',
        choices=('naver', 'huggingface'),
        default='naver',
        help='.pth files of NAVER, or safetensors of Hugging Face, which has no DUNE (naver)',
    )
    parser.add_argument(
        '--cache-dir', metavar='DIR', help='folder of models; weights go into DIR/checkpoints'
    )
    parser.add_argument('--output', metavar='DIR', help='put the weights exactly here instead')
    parser.add_argument(
        '--url', metavar='BASE', help=f'a mirror: folder of the files (${MIRROR_VARIABLE})'
    )
    parser.add_argument('--offline', action='store_true', help='use no network, only check')
    parser.add_argument(
        '--allow-http', action='store_true', help='let a mirror be unencrypted: you trust the way'
    )
    parser.add_argument(
        '--timeout', type=_seconds, default=30.0, metavar='S', help='longest silence (30)'
    )
    parser.add_argument(
        '--retries', type=_count, default=4, metavar='N', help='fruitless attempts in a row (4)'
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of text')
    return run_command(parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    folder = _folder(arguments)
    if arguments.list:
        return _list(arguments, folder)
    from mast3r_ros.models.catalogue import published_model
    from mast3r_ros.models.download import download_model

    model = published_model(arguments.variant)
    progress = Progress(sys.stderr, _NAME)
    try:
        files = download_model(model, folder, _options(arguments, progress), progress)
    except KeyboardInterrupt:
        progress.close()
        progress.say('stopped; the same command goes on where this one was')
        return EXIT_INTERRUPTED
    finally:
        progress.close()
    if arguments.json:
        print(json.dumps(_report(files), indent=2))
    else:
        print('\n'.join([*(str(item.path) for item in files), _next(arguments, model, files)]))
    return 0


def _options(arguments: argparse.Namespace, progress: Progress) -> DownloadOptions:
    from mast3r_ros.models.download import DownloadOptions
    from mast3r_ros.models.transfer import Patience

    return DownloadOptions(
        accept=lambda licence: _asked(licence, progress, accepted=arguments.accept_license),
        hugging_face=arguments.source == 'huggingface',
        mirror=arguments.url or os.environ.get(MIRROR_VARIABLE, ''),
        offline=arguments.offline,
        allow_http=arguments.allow_http,
        patience=Patience(timeout_s=arguments.timeout, retries=arguments.retries),
    )


def _asked(licence: WeightsLicence, progress: Progress, *, accepted: bool) -> bool:
    """Show a licence and, unless it is accepted already, ask about it on a terminal."""
    if accepted:
        progress.say(f'accepted: {licence.name}: {licence.notice} {licence.url}')
        return True
    progress.say(f'{licence.name}\n  {licence.notice}\n  {licence.url}')
    if not sys.stdin.isatty():
        return False
    print('Do you accept this licence? [y/N] ', end='', file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ('y', 'yes')


def _folder(arguments: argparse.Namespace) -> Path:
    from mast3r_ros.config import default_cache_dir
    from mast3r_ros.models.catalogue import CHECKPOINTS_FOLDER

    if arguments.output:
        return Path(arguments.output).expanduser()
    cache = Path(arguments.cache_dir).expanduser() if arguments.cache_dir else default_cache_dir()
    return cache / CHECKPOINTS_FOLDER


def _list(arguments: argparse.Namespace, folder: Path) -> int:
    from mast3r_ros.models.catalogue import MODELS

    rows = [_row(model, folder) for model in MODELS.values()]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return 0
    for row in rows:
        state = 'here' if row['here'] else f'{row["bytes"] / 1e6:.0f} MB'
        print(f'{row["variant"]:<18} {state:>8}  {row["summary"]}')
        print(f'{"":<28} trained: {row["trained"]}')
        print(f'{"":<28} {"; ".join(row["licences"])}')
    print(f'folder: {folder}')
    return 0


def _row(model: PublishedModel, folder: Path) -> dict[str, Any]:
    return {
        'variant': model.variant.value,
        'summary': model.summary,
        'trained': model.sizes,
        'metric': model.metric,
        'patch_px': model.patch_px,
        'bytes': sum(file.about_bytes for file in model.files),
        'files': [file.path for file in model.files],
        'licences': [licence.name for licence in model.licences],
        'here': all(path.is_file() for path in model.paths_in(folder)),
    }


def _report(files: Sequence[FetchedFile]) -> list[dict[str, Any]]:
    return [
        {'path': str(item.path), 'sha256': item.sha256, 'fetched': item.fetched} for item in files
    ]


def _next(
    arguments: argparse.Namespace, model: PublishedModel, files: Sequence[FetchedFile]
) -> str:
    """Return the command that exports the weights from where they are now."""
    words = ['mast3r-export', '--variant', model.variant.value]
    if arguments.output:
        weights = [str(item.path) for item in files if item.path.suffix != '.json']
        for option, path in zip(('--checkpoint', '--encoder'), weights, strict=False):
            words += [option, path]
    elif arguments.cache_dir:
        words += ['--cache-dir', arguments.cache_dir]
    return f'next: {shlex.join(words)} (long side {model.variant.default_resolution} px)'


def _variant(text: str) -> ModelVariant:
    try:
        return ModelVariant(text)
    except ValueError:
        known = ', '.join(item.value for item in ModelVariant)
        raise argparse.ArgumentTypeError(f'{text!r} is none of {known}') from None


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.01 <= value <= 3600:
        raise argparse.ArgumentTypeError(f'{text!r} is no time from 0.01 to 3600 s')
    return value


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) > 1000:
        raise argparse.ArgumentTypeError(f'{text!r} is no number from 0 to 1000')
    return int(text)


if __name__ == '__main__':
    sys.exit(main())
