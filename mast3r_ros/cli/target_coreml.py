# SPDX-License-Identifier: Apache-2.0
"""``mast3r-export --target coreml``: converts a model for Apple's machines, on any machine."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any

from mast3r_ros.choices import BackendType, ComputeUnits
from mast3r_ros.cli.progress import Progress
from mast3r_ros.cli.target_settings import target_settings
from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.models.folder import ModelFolder

NAME = 'coreml'


def add_conversion_options(parser: argparse.ArgumentParser) -> None:
    """Add what a conversion can be told."""
    group = parser.add_argument_group('packages', 'for --target coreml')
    group.add_argument(
        '--compute-units',
        choices=[item.value for item in ComputeUnits],
        default=ComputeUnits.ALL.value,
        help='what may run them: processor, graphics (gpu), neural engine (ne) (all)',
    )


def convert(arguments: argparse.Namespace, name: str) -> int:
    """Convert what is not converted yet of the model that is there, and say where it is.

    :param name: of the command.
    """
    from mast3r_ros.export.accelerator_graphs import wanted_graphs, write_packages
    from mast3r_ros.export.coreml_export import convert_model

    if arguments.size or arguments.size_2 or arguments.image_size or arguments.resolution:
        raise InvalidInput(
            '--target coreml converts all sizes of a model; add a size without --target first, '
            'and leave it out here'
        )
    start_s = time.monotonic()
    progress = Progress(sys.stderr, name)
    try:
        model = _model(arguments)
        units = ComputeUnits(arguments.compute_units)
        graphs = wanted_graphs(model, arguments.with_preprocessing, arguments.with_matching)
        report = convert_model(model, units, progress.show, overwrite=arguments.overwrite)
        beside = write_packages(model, graphs)
    finally:
        progress.close()
    facts = {
        'model': str(model.path),
        'precision': model.description.precision.value,
        'folder': str(report.folder),
        'compute_units': units.value,
        'converted': list(report.made),
        'there_already': list(report.there),
        'accelerator': [str(path) for path in beside],
        'bytes': report.bytes,
        'seconds': round(time.monotonic() - start_s, 1),
    }
    print(json.dumps(facts, indent=2) if arguments.json else _as_text(facts))
    return 0


def _model(arguments: argparse.Namespace) -> ModelFolder:
    from mast3r_ros.models.coreml_packages import PRECISIONS
    from mast3r_ros.models.folder import find_model

    config = target_settings(arguments, BackendType.COREML)
    return find_model(config, BackendType.COREML.value, PRECISIONS)


def _as_text(facts: dict[str, Any]) -> str:
    lines = [f'{facts["model"]} ({facts["precision"]}) for Core ML: {facts["folder"]}']
    lines += [f'  converted {name}' for name in facts['converted']]
    lines += [f'  was there already: {name}' for name in facts['there_already']]
    lines += [f'  for accelerators: {path}' for path in facts['accelerator']]
    return '\n'.join([*lines, f'{facts["bytes"] / 1e6:.0f} MB, {facts["seconds"]:.0f} s'])
