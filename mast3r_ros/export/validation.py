# SPDX-License-Identifier: Apache-2.0
"""Holds one engine against another on pairs of pictures, and records the outcome in the model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mast3r_ros.config import (
    BackendType,
    MASt3RRuntimeConfig,
    ModelConfig,
    Precision,
    RuntimeConfig,
)
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.images import load_image
from mast3r_ros.core.results import EngineInfo, Output
from mast3r_ros.core.views import ImageArray
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.errors import InvalidInput, ModelError, ModelNotFound
from mast3r_ros.export.answers import built_in_pair
from mast3r_ros.export.comparison import Figures, Limits, as_facts, compare, worst
from mast3r_ros.export.landing import update_description
from mast3r_ros.models.description import (
    DESCRIPTION_FILE,
    ModelDescription,
    Shape,
    Validation,
)
from mast3r_ros.models.folder import ModelFolder
from mast3r_ros.models.proofs import (
    LIMITS,
    REFERENCE,
    REFERENCE_SOURCES,
    limit_faults,
    reference_faults,
)

BUILT_IN = 'built-in pair'


@dataclass(frozen=True)
class EngineChoice:
    """An engine, the precision it is to run at, and the model that it runs.

    :param precision: auto for that of the model.
    :param cache_dir: where what it makes is kept; None: the usual place.
    """

    backend: BackendType
    precision: Precision
    folder: Path
    cache_dir: Path | None = None

    @property
    def name(self) -> str:
        """What it is called in a report."""
        return f'{self.backend.value}:{self.precision.value}'


@dataclass(frozen=True)
class PicturePair:
    """Two pictures and what they are known by: their names and the digests of their files."""

    image_1: ImageArray
    image_2: ImageArray
    sources: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Outcome:
    """What came of a comparison.

    :param pairs: the figures of each pair, in order.
    :param figures: the worst of them.
    :param broken: the limits that do not hold, in words.
    """

    reference: EngineInfo
    candidate: EngineInfo
    shape: Shape
    pairs: tuple[Figures, ...]
    figures: Figures
    broken: tuple[str, ...]
    real_pictures: bool
    details: dict[str, Any]

    @property
    def passed(self) -> bool:
        """Whether all limits hold."""
        return not self.broken


def parse_engine(text: str, model: Path, cache_dir: Path | None = None) -> EngineChoice:
    """Read ``onnxruntime`` or ``onnxruntime:int8`` and find its model.

    :param model: a model folder, or the folder that holds one for each precision.
    """
    name, _, precision_name = text.partition(':')
    try:
        backend, precision = BackendType(name), Precision(precision_name or 'auto')
    except ValueError:
        engines = ', '.join(item.value for item in BackendType)
        precisions = ', '.join(item.value for item in Precision)
        raise InvalidInput(
            f'{text!r} names no engine; write ENGINE or ENGINE:PRECISION, with one of {engines} '
            f'and one of {precisions}'
        ) from None
    if backend in (BackendType.AUTO, BackendType.GEOMETRIC):
        raise InvalidInput(
            f'{backend.value} cannot be compared; name an engine that runs networks'
        )
    folder = _model_folder(model.expanduser(), precision)
    return EngineChoice(backend, precision, folder, cache_dir)


def picture_pairs(paths: Sequence[str]) -> list[PicturePair]:
    """Read pictures, two by two."""
    if len(paths) % 2:
        raise InvalidInput(f'{len(paths)} pictures are no pairs; give an even number')
    pairs = []
    for first, second in zip(paths[::2], paths[1::2], strict=True):
        sources = tuple((Path(path).name, _digest(path)) for path in (first, second))
        pairs.append(PicturePair(load_image(first), load_image(second), sources))
    return pairs


def common_shape(reference: EngineChoice, candidate: EngineChoice) -> Shape:
    """Return the first size of the candidate's model that the reference's has too."""
    known = _described(reference)
    for shape in _described(candidate).shapes:
        if shape in known.shapes:
            return shape
    raise ModelError(
        f'{reference.folder} and {candidate.folder} have no size in common; export one size into '
        'both'
    )


def validate(
    reference: EngineChoice,
    candidate: EngineChoice,
    pairs: Sequence[PicturePair],
    limits: Limits,
    shape: Shape | None = None,
    tell: Callable[[float, str], None] = lambda _fraction, _what: None,
) -> Outcome:
    """Answer pairs by both engines and compare.

    :param pairs: pictures of any size, which are cut to the network's; none for the built-in pair.
    :param shape: size of the network input; None for the first that both models have.
    """
    shape = shape or common_shape(reference, candidate)
    chosen = list(pairs) or [PicturePair(*built_in_pair(shape, shape))]
    tell(0.0, 'loading the engines')
    with _engine(reference, shape) as one, _engine(candidate, shape) as other:
        figures = []
        for index, pair in enumerate(chosen):
            tell(index / len(chosen), f'pair {index + 1} of {len(chosen)}')
            figures.append(_compare_pair(one, other, pair))
        infos = one.describe(), other.describe()
    total = worst(figures)
    broken = limits.broken_by(total)
    details = {
        REFERENCE: f'{infos[0].name}:{infos[0].precision}',
        REFERENCE_SOURCES: sorted({item.sha256 for item in _described(reference).sources}),
        'size': f'{shape[1]}x{shape[0]}',
        'figures': as_facts(total),
        LIMITS: as_facts(limits),
        'pictures': list(_known_by(pairs)) if pairs else BUILT_IN,
        'device': infos[1].device,
        'versions': dict(infos[1].versions),
        'date': datetime.now(timezone.utc).isoformat(timespec='seconds'),
    }
    return Outcome(*infos, shape, tuple(figures), total, tuple(broken), bool(pairs), details)


def faults_as_proof(outcome: Outcome, candidate: EngineChoice) -> list[str]:
    """Return, in words, why a comparison does not let auto take an int8 model."""
    sources = [item.sha256 for item in _described(candidate).sources]
    built_in = [] if outcome.real_pictures else ['no pictures were given']
    details = outcome.details
    return [*built_in, *reference_faults(details, sources), *limit_faults(details)]


def record(outcome: Outcome, candidate: EngineChoice) -> None:
    """Keep the outcome in the description of the candidate's model."""
    validation = Validation(
        engine=candidate.backend.value,
        precision=Precision(outcome.candidate.precision),
        passed=outcome.passed,
        real_pictures=outcome.real_pictures,
        details=outcome.details,
    )
    update_description(candidate.folder, lambda found: found.with_validation(validation))


def _described(choice: EngineChoice) -> ModelDescription:
    return ModelFolder.open(choice.folder).description


def _engine(choice: EngineChoice, shape: Shape) -> EngineInterface:
    model = ModelConfig(path=choice.folder, precision=choice.precision, shape=shape)
    return get_runtime(
        MASt3RRuntimeConfig(
            model=model.replace(variant=_described(choice).variant),
            runtime=RuntimeConfig(backend=choice.backend, call_timeout_s=3600.0),
            cache_dir=choice.cache_dir,
        )
    )


def _compare_pair(one: EngineInterface, other: EngineInterface, pair: PicturePair) -> Figures:
    outputs = Output.CLOUD_1 | Output.CLOUD_2 | Output.DESC
    results = [
        engine.infer(pair.image_1, pair.image_2, outputs=outputs & engine.provides)
        for engine in (one, other)
    ]
    matches = one.match_result(results[0]), other.match_result(results[1])
    return compare(results[0], results[1], matches)


def _model_folder(model: Path, precision: Precision) -> Path:
    """Return the folder of a precision: the given one, or the fitting one of those in it."""
    if (model / DESCRIPTION_FILE).is_file() or not model.is_dir():
        ModelFolder.open(model)
        return model
    present = [each for each in Precision if (model / each.value / DESCRIPTION_FILE).is_file()]
    # OpenVINO runs a float32 folder in bfloat16.
    stand_in = Precision.FP32 if precision is Precision.BF16 else precision
    for wanted in (precision, stand_in):
        if wanted in present:
            return model / wanted.value
    if not present:
        ModelFolder.open(model)  # says what is wrong with it
    held = ', '.join(each.value for each in present)
    raise ModelNotFound(
        f'{model} has no {precision.value} model, it holds {held}; name one of these as '
        'ENGINE:PRECISION, or make it with mast3r-export --precision'
    )


def _known_by(pairs: Sequence[PicturePair]) -> Iterator[dict[str, str]]:
    for pair in pairs:
        for name, digest in pair.sources:
            yield {'name': name, 'sha256': digest}


def _digest(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError as error:
        raise InvalidInput(f'{path} cannot be read: {error.strerror}') from error
