# SPDX-License-Identifier: Apache-2.0
"""From a model folder to Core ML packages of all its sizes, on any machine."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mast3r_ros import __version__
from mast3r_ros.choices import ComputeUnits
from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, RuntimeConfig
from mast3r_ros.errors import InvalidInput
from mast3r_ros.export.exporter import Tell
from mast3r_ros.export.graph_files import write_whole
from mast3r_ros.export.landing import added_files, land, new_folder
from mast3r_ros.export.libraries import require_exporter
from mast3r_ros.export.stage_ports import stage_ports
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.coreml_packages import (
    FOLDER,
    INDEX_FILE,
    PRECISIONS,
    CoreMlIndex,
    Package,
    package_bytes,
    read_index,
    wanted_packages,
)
from mast3r_ros.models.folder import ModelFolder


@dataclass(frozen=True)
class CoreMlReport:
    """What was converted.

    :param made: names of the new packages.
    :param there: names of those that were there already.
    """

    folder: Path
    made: tuple[str, ...]
    there: tuple[str, ...]
    bytes: int


def convert_model(
    model: ModelFolder,
    compute_units: ComputeUnits = ComputeUnits.ALL,
    tell: Tell = lambda _fraction, _what: None,
    *,
    overwrite: bool = False,
) -> CoreMlReport:
    """Convert what is not converted yet of a model; nothing half-made is left.

    :param compute_units: what may run it, which the engine goes by.
    :param overwrite: convert everything anew.
    :raises InvalidInput: Core ML has no such precision.
    :raises EngineUnavailable: a library is missing.
    """
    precision = model.description.precision
    if precision not in PRECISIONS:
        raise InvalidInput(
            f'the model at {model.path} is {precision.value}, and Core ML takes '
            f'{" and ".join(item.value for item in PRECISIONS)}; export one of them'
        )
    require_exporter()
    target = model.path / FOLDER
    with added_files(model.path), new_folder(target) as unfinished:
        index = None if overwrite else read_index(model)
        packages = _kept(target, unfinished, {} if index is None else index.packages)
        there = tuple(packages)
        wanted = [item for item in wanted_packages(model.description) if item.name not in there]
        packages |= _convert(model, wanted, unfinished, tell)
        weights = model.description.weights.sha256
        written = CoreMlIndex(weights, compute_units, packages, _inputs(model), _versions())
        write_whole(unfinished / INDEX_FILE, written.to_json().encode())
        land(unfinished, target)
    made = tuple(item.name for item in wanted)
    return CoreMlReport(target, made, there, sum(packages.values()))


def _convert(
    model: ModelFolder, wanted: list[Package], unfinished: Path, tell: Tell
) -> dict[str, int]:
    """Convert packages and return their bytes by their names."""
    from mast3r_ros.engines.pytorch import PyTorchEngine
    from mast3r_ros.export.coreml_stage import require_coreml_tools, write_package

    require_coreml_tools()
    settings = MASt3RRuntimeConfig(
        model=ModelConfig(path=model.path), runtime=RuntimeConfig(device=-1, self_check=False)
    )
    architecture = _architecture(model)
    packages: dict[str, int] = {}
    with PyTorchEngine(settings) as network:
        for number, item in enumerate(wanted):
            tell(number / len(wanted), f'Core ML: {item.name}')
            module = network.module(item.stage, item.shape_1, item.shape_2)
            ports = stage_ports(architecture, item.stage, item.shape_1, item.shape_2)
            write_package(module, ports, unfinished / item.name)
            packages[item.name] = package_bytes(unfinished / item.name)
    return packages


def _kept(target: Path, unfinished: Path, packages: Mapping[str, int]) -> dict[str, int]:
    """Take over what was converted of the same weights, without a second copy of it."""
    whole = {name: size for name, size in packages.items() if package_bytes(target / name) == size}
    for name in whole:
        shutil.copytree(target / name, unfinished / name, copy_function=_link)
    return whole


def _link(source: str, destination: str) -> str:
    try:
        os.link(source, destination)
    except OSError:  # a file system without links
        shutil.copy2(source, destination)
    return destination


def _inputs(model: ModelFolder) -> Mapping[str, tuple[str, ...]]:
    """Return what each stage takes, which no size changes."""
    architecture = _architecture(model)
    patch = (architecture.patch_px, architecture.patch_px)
    return {
        stage: tuple(stage_ports(architecture, stage, patch, patch).inputs)
        for stage in model.description.stages
    }


def _architecture(model: ModelFolder) -> Architecture:
    return Architecture.from_dict(model.description.architecture)


def _versions() -> Mapping[str, str]:
    import torch

    from mast3r_ros.export.coreml_stage import require_coreml_tools

    return {
        'mast3r_ros': __version__,
        'torch': str(torch.__version__),
        'coremltools': str(require_coreml_tools().__version__),
    }
