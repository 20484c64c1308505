# SPDX-License-Identifier: Apache-2.0
"""``mast3r-export --target tensorrt``: builds a model's engines for this machine's card."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mast3r_ros.choices import BackendType
from mast3r_ros.cli.progress import Progress
from mast3r_ros.cli.target_settings import target_settings
from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.models.description import Shape
    from mast3r_ros.models.folder import ModelFolder

NAME = 'tensorrt'


def add_build_options(parser: argparse.ArgumentParser) -> None:
    """Add what a build of engines can be told."""
    group = parser.add_argument_group('engines', 'for --target tensorrt')
    group.add_argument(
        '--level',
        type=int,
        choices=range(6),
        default=3,
        help='how much TensorRT compares, 0 to 5; more takes longer (3)',
    )
    group.add_argument(
        '--workspace-mb',
        type=int,
        default=0,
        metavar='MB',
        help='most memory that a layer may take while it works (0: all there is)',
    )
    group.add_argument('--device', type=int, default=0, metavar='N', help='card (0)')


def build_engines(arguments: argparse.Namespace, name: str) -> int:
    """Build what is missing for the model that is there, and say where it is.

    :param name: of the command.
    """
    from mast3r_ros.engines.tensorrt_engine.builder import BuildSettings
    from mast3r_ros.engines.tensorrt_engine.opening import building_store
    from mast3r_ros.engines.tensorrt_engine.store import all_stages

    if arguments.workspace_mb < 0:
        raise InvalidInput(f'--workspace-mb is {arguments.workspace_mb}; 0 takes all there is')
    if arguments.with_preprocessing or arguments.with_matching:
        raise InvalidInput(
            '--target tensorrt builds the stages of a model alone; write the graphs for '
            'accelerators without --target, and build them with trtexec --stronglyTyped'
        )
    settings = BuildSettings(arguments.level, arguments.workspace_mb)
    start_s = time.monotonic()
    progress = Progress(sys.stderr, name)
    try:
        config = target_settings(arguments, BackendType.TENSORRT, arguments.device)
        with building_store(config, settings) as store:
            wanted = all_stages(store.model, _shapes(arguments, store.model))
            if arguments.overwrite:
                store.forget(wanted)
            built = store.build_missing(wanted, progress.show)
            facts: dict[str, Any] = {
                'model': str(store.model.path),
                'precision': store.model.description.precision.value,
                'card': store.files.card.name,
                'folder': str(store.files.folder),
                'built': [store.files.path(*each).name for each in built],
                'there_already': [
                    store.files.path(*each).name for each in wanted if each not in built
                ],
                'trtexec': store.commands(wanted),
            }
    finally:
        progress.close()
    facts['seconds'] = round(time.monotonic() - start_s, 1)
    print(json.dumps(facts, indent=2) if arguments.json else _as_text(facts))
    return 0


def _shapes(arguments: argparse.Namespace, model: ModelFolder) -> Sequence[Shape] | None:
    """Return the sizes that are asked for, or None for all that the model has."""
    sizes = [*arguments.size, *arguments.size_2]
    if arguments.image_size or arguments.resolution:
        raise InvalidInput('--target tensorrt takes sizes of the model; give them with --size')
    wanted = [(height, width) for width, height in sizes]
    for height, width in wanted:
        if (height, width) not in model.encoder_shapes:
            raise InvalidInput(
                f'the model at {model.path} lacks the size {width}x{height}, it has '
                f'{model.sizes_in_words()}; export that size first, without --target'
            )
    return wanted or None


def _as_text(facts: dict[str, Any]) -> str:
    lines = [f'{facts["model"]} ({facts["precision"]}) for {facts["card"]}: {facts["folder"]}']
    lines += [f'  built {name}' for name in facts['built']]
    lines += [f'  was there already: {name}' for name in facts['there_already']]
    lines.append("built and timed by TensorRT's own program (engines of it are not read):")
    lines += [f'  {command}' for command in facts['trtexec']]
    return '\n'.join([*lines, f'{facts["seconds"]:.0f} s'])
