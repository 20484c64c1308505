# SPDX-License-Identifier: Apache-2.0
"""What ``model.json`` says of an exported model: written by the export, read by the engines."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

from mast3r_ros.config import ModelVariant, Precision
from mast3r_ros.errors import ModelError
from mast3r_ros.models.json_entries import Entries
from mast3r_ros.models.proofs import limit_faults, reference_faults

FORMAT = 1
DESCRIPTION_FILE = 'model.json'
CHECK_FILE = 'check.npz'
WEIGHTS_FILE = 'weights.data'
TRANSPOSED = '.transposed'
"""Ends the name of a weight that lies as (out, in) in the file."""

ENCODER = 'encoder'
DECODER = 'decoder'
STAGES = (ENCODER, DECODER, 'points_1', 'points_2', 'descriptors_1', 'descriptors_2')
"""Every stage there can be, in the order in which a pair passes them."""

Shape = tuple[int, int]
"""Height and width of a network input in pixels."""


@dataclass(frozen=True)
class SourceFile:
    """A file that the weights come from."""

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Licence:
    """The licence of the weights; where there are several, all, joined by ``and``."""

    name: str
    url: str


@dataclass(frozen=True)
class Weights:
    """The one file of weights that the graphs of all sizes point into.

    :param sample: digest of a part, quick to check; older folders have none.
    """

    file: str
    bytes: int
    sha256: str
    sample: str = ''


@dataclass(frozen=True)
class Validation:
    """The outcome of one comparison of this model with a reference.

    :param engine: what ran the model, such as ``onnxruntime``.
    :param real_pictures: whether it was made on pictures rather than on the built-in pair.
    :param details: figures, limits, date, pictures: whatever the comparison wants to keep.
    """

    engine: str
    precision: Precision
    passed: bool
    real_pictures: bool
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelDescription:
    """What a model folder holds.

    :param architecture: the network's dimensions, as its own class writes them.
    :param patch_px: side of the square that becomes one token.
    :param metric: whether points come in metres.
    :param shapes: network inputs that both views can have.
    :param pairs: network inputs of view 1 and view 2 where they differ.
    :param stages: names of the graphs of each size.
    :param exporter: versions of what wrote the folder.
    :param official_pair: False where the files were published for different partners.
    :param seeded: True for made-up weights.
    """

    variant: ModelVariant
    precision: Precision
    architecture: Mapping[str, Any]
    patch_px: int
    metric: bool
    shapes: tuple[Shape, ...]
    stages: tuple[str, ...]
    weights: Weights
    sources: tuple[SourceFile, ...]
    licence: Licence
    exporter: Mapping[str, str]
    pairs: tuple[tuple[Shape, Shape], ...] = ()
    opset: int = 18
    official_pair: bool = True
    seeded: bool = False
    check: str = CHECK_FILE
    validations: tuple[Validation, ...] = ()

    def __post_init__(self) -> None:
        _check(self)

    @property
    def has_descriptors(self) -> bool:
        """Whether it describes pixels, as DUSt3R does not."""
        return 'descriptors_1' in self.stages

    def serves(self, shape_1: Shape, shape_2: Shape) -> bool:
        """Return whether a pair of these inputs can be answered."""
        if shape_1 == shape_2:
            return shape_1 in self.shapes
        return (shape_1, shape_2) in self.pairs

    def with_validation(self, validation: Validation) -> ModelDescription:
        """Return a copy that holds one more validation."""
        return replace(self, validations=(*self.validations, validation))

    def is_proven_for(self, engine: str) -> bool:
        """Return whether the last comparison on real pictures with that engine was passed.

        Only one with the same network in float32 counts, and a passed one only if its limits
        were no laxer than the usual ones.
        """
        digests = [item.sha256 for item in self.sources]
        outcomes = [
            item.passed
            for item in self.validations
            if item.engine == engine and item.real_pictures and item.precision is self.precision
            if not reference_faults(item.details, digests)
            if not (item.passed and limit_faults(item.details))
        ]
        return bool(outcomes) and outcomes[-1]

    def to_json(self) -> str:
        """Return the text of ``model.json``."""
        return json.dumps({'format': FORMAT, **asdict(self)}, indent=2) + '\n'

    @classmethod
    def from_json(cls, text: str | bytes, where: str = DESCRIPTION_FILE) -> ModelDescription:
        """Read the text of ``model.json``.

        :param where: what the text is called in an error.
        """
        try:
            values = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f'{where} is not valid JSON: {error}; export the model anew'
            ) from None
        entries = Entries(values, where)
        version = entries.integer('format')
        if version != FORMAT:
            raise ModelError(
                f'{where} has format {version}, this version reads {FORMAT}; export the model '
                'anew or update mast3r_ros'
            )
        description = cls(
            variant=entries.choice('variant', ModelVariant),
            precision=entries.choice('precision', Precision),
            architecture=entries.mapping('architecture'),
            patch_px=entries.integer('patch_px'),
            metric=entries.boolean('metric'),
            shapes=tuple(_shape(item, where) for item in entries.items('shapes')),
            stages=entries.texts('stages'),
            weights=_weights(entries.group('weights')),
            sources=tuple(_source(item) for item in entries.groups('sources')),
            licence=_licence(entries.group('licence')),
            exporter={name: str(value) for name, value in entries.mapping('exporter').items()},
            pairs=tuple(_pair(item, where) for item in entries.items('pairs')),
            opset=entries.integer('opset'),
            official_pair=entries.boolean('official_pair'),
            seeded=entries.boolean('seeded'),
            check=entries.text('check'),
            validations=tuple(_validation(item) for item in entries.groups('validations')),
        )
        entries.finish()
        return description


def graph_file(stage: str, shape_1: Shape, shape_2: Shape | None = None) -> str:
    """Return the name of a stage's graph, such as ``384x512_decoder.onnx``.

    Graphs lie beside their weights: no reader of ONNX follows a path out of the graph's folder.
    """
    return f'{size_name(shape_1, shape_2)}_{stage}.onnx'


def size_name(shape_1: Shape, shape_2: Shape | None = None) -> str:
    """Return the name of a size: ``384x512``, or ``384x512_512x384`` for a mixed pair."""
    name = f'{shape_1[0]}x{shape_1[1]}'
    if shape_2 is None or shape_2 == shape_1:
        return name
    return f'{name}_{shape_2[0]}x{shape_2[1]}'


def _check(model: ModelDescription) -> None:
    """Raise unless the parts fit each other."""
    if model.patch_px < 1:
        raise ModelError(f'patch_px is {model.patch_px}; it must be at least 1')
    if model.precision is Precision.AUTO:
        raise ModelError('the precision of a model is a number format, not auto')
    for shape in (*model.shapes, *(shape for pair in model.pairs for shape in pair)):
        if min(shape) < model.patch_px or any(side % model.patch_px for side in shape):
            raise ModelError(
                f'the model has a size of {size_name(shape)} (height x width); both must be '
                f'multiples of the patch of {model.patch_px} px'
            )
    unknown = [name for name in model.stages if name not in STAGES]
    if unknown or not {ENCODER, DECODER} <= set(model.stages):
        raise ModelError(
            f'the stages are {", ".join(model.stages) or "none"}; they must be among '
            f'{", ".join(STAGES)}, with encoder and decoder'
        )
    for name in (model.weights.file, model.check):
        if PurePosixPath(name).name != name or '\\' in name:
            raise ModelError(f'{name!r} is no plain file name; files of a model lie in its folder')


def _shape(value: Any, where: str) -> Shape:
    if not _is_pair(value) or not all(type(side) is int and side > 0 for side in value):
        raise ModelError(f'{where} has the size {value!r}; a size is [height, width] in pixels')
    return value[0], value[1]


def _pair(value: Any, where: str) -> tuple[Shape, Shape]:
    if not _is_pair(value):
        raise ModelError(f'{where} has the pair {value!r}; a pair is [[H, W], [H2, W2]]')
    return _shape(value[0], where), _shape(value[1], where)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2


def _weights(entries: Entries) -> Weights:
    made = Weights(
        entries.text('file'),
        entries.integer('bytes'),
        entries.text('sha256'),
        entries.text_if_any('sample'),
    )
    entries.finish()
    return made


def _source(entries: Entries) -> SourceFile:
    made = SourceFile(entries.text('name'), entries.integer('bytes'), entries.text('sha256'))
    entries.finish()
    return made


def _licence(entries: Entries) -> Licence:
    made = Licence(entries.text('name'), entries.text('url'))
    entries.finish()
    return made


def _validation(entries: Entries) -> Validation:
    made = Validation(
        entries.text('engine'),
        entries.choice('precision', Precision),
        entries.boolean('passed'),
        entries.boolean('real_pictures'),
        entries.mapping('details'),
    )
    entries.finish()
    return made
