# SPDX-License-Identifier: Apache-2.0
"""A model's stages as Core ML packages, in a folder of its own inside the model's."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mast3r_ros.choices import ComputeUnits, Precision
from mast3r_ros.errors import EngineUnavailable, ModelError
from mast3r_ros.models.description import ENCODER, ModelDescription, Shape, graph_file
from mast3r_ros.models.folder import ModelFolder
from mast3r_ros.models.getting import how_to_convert
from mast3r_ros.models.json_entries import Entries

FOLDER = 'coreml'
INDEX_FILE = 'coreml.json'
PRECISIONS = (Precision.FP16, Precision.FP32)
"""What Core ML runs, best first."""

_FORMAT = 1
_SUFFIX = '.mlpackage'


@dataclass(frozen=True)
class Package:
    """One stage for views of those shapes."""

    stage: str
    shape_1: Shape
    shape_2: Shape

    @property
    def name(self) -> str:
        """The name of its folder, such as ``384x512_decoder.mlpackage``."""
        return Path(graph_file(self.stage, self.shape_1, self.shape_2)).stem + _SUFFIX


@dataclass(frozen=True)
class CoreMlIndex:
    """What ``coreml.json`` says.

    :param weights: digest of the weights that the packages were converted from.
    :param packages: bytes of each package by its name.
    :param inputs: what each stage takes, by its name.
    :param versions: of what converted them.
    """

    weights: str
    compute_units: ComputeUnits
    packages: Mapping[str, int]
    inputs: Mapping[str, tuple[str, ...]]
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """Return the text of ``coreml.json``."""
        return json.dumps({'format': _FORMAT, **asdict(self)}, indent=2) + '\n'

    @classmethod
    def from_json(cls, text: str | bytes, where: str) -> CoreMlIndex:
        """Read the text of ``coreml.json``.

        :raises ModelError: it is not one that this version reads.
        """
        try:
            entries = Entries(json.loads(text), where)
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f'{where} is not valid JSON: {error}; convert the model anew'
            ) from None
        if entries.integer('format') != _FORMAT:
            raise ModelError(f'{where} is of another version; convert the model anew')
        index = cls(
            entries.text('weights'),
            entries.choice('compute_units', ComputeUnits),
            _sizes(entries.mapping('packages'), where),
            _inputs(entries.mapping('inputs'), where),
            {name: str(value) for name, value in entries.mapping('versions').items()},
        )
        entries.finish()
        return index


def wanted_packages(model: ModelDescription) -> list[Package]:
    """Return every package that the sizes of a model need."""
    mixed = [shape for pair in model.pairs for shape in pair]
    encoders = dict.fromkeys([*model.shapes, *mixed])
    found = [Package(ENCODER, shape, shape) for shape in encoders]
    for one, two in [*((shape, shape) for shape in model.shapes), *model.pairs]:
        found += [Package(stage, one, two) for stage in model.stages if stage != ENCODER]
    return found


def open_packages(model: ModelFolder) -> CoreMlIndex:
    """Return what was converted of a model, checked against it.

    :raises EngineUnavailable: nothing was, or not all of it; the sentence says how to do it.
    :raises ModelError: a package is damaged.
    """
    index = read_index(model)
    names = [item.name for item in wanted_packages(model.description)]
    has = {} if index is None else index.packages
    missing = [name for name in names if name not in has]
    if index is None or missing:
        raise EngineUnavailable(
            f'the model at {model.path} was not converted for Core ML ({missing[0]} is missing); '
            + how_to_convert('convert it', model.description, model.path, 'coreml')
        )
    for name in names:
        found = package_bytes(model.path / FOLDER / name)
        if found != index.packages[name]:
            raise ModelError(
                f'{model.path / FOLDER / name} has {found} bytes and should have '
                f'{index.packages[name]}; copy the folder anew, or '
                + how_to_convert('convert it', model.description, model.path, 'coreml')
            )
    return index


def read_index(model: ModelFolder) -> CoreMlIndex | None:
    """Return what was converted of these very weights; None where nothing was."""
    path = model.path / FOLDER / INDEX_FILE
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ModelError(f'cannot read {path}: {error.strerror}') from error
    index = CoreMlIndex.from_json(content, str(path))
    return index if index.weights == model.description.weights.sha256 else None


def package_bytes(path: Path) -> int:
    """Return the bytes of all files of a package; 0 where there is none."""
    return sum(file.stat().st_size for file in path.rglob('*') if file.is_file())


def _inputs(values: Mapping[str, Any], where: str) -> dict[str, tuple[str, ...]]:
    for stage, names in values.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ModelError(f'{where} lists {names!r} for {stage}; convert the model anew')
    return {stage: tuple(names) for stage, names in values.items()}


def _sizes(values: Mapping[str, Any], where: str) -> dict[str, int]:
    for name, size in values.items():
        if type(size) is not int or Path(name).name != name or not name.endswith(_SUFFIX):
            raise ModelError(f'{where} lists {name!r} as {size!r}; convert the model anew')
    return dict(values)
