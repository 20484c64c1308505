# SPDX-License-Identifier: Apache-2.0
"""How far two answers to the same pair lie apart, whatever engines and precisions gave them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.results import FloatArray, InferenceResult, MatchResult
from mast3r_ros.errors import InvalidInput
from mast3r_ros.export.answers import relative_error
from mast3r_ros.models.proofs import (
    LEAST_DESCRIPTOR_COSINE,
    LEAST_MATCH_OVERLAP,
    MOST_POINT_ERROR,
)

OUTPUTS = tuple(
    f'{name}_{view}' for name in ('pts3d', 'conf', 'desc', 'desc_conf') for view in (1, 2)
)
_SAME_PX = 2.0  # two matches whose ends lie no farther apart are the same
_BLOCK = 512  # matches that are compared with all others at once


@dataclass(frozen=True)
class Figures:
    """How a candidate's answers differ from a reference's; None for what a network lacks.

    :param errors: of each output, norm of the difference over norm of the reference.
    :param descriptor_cosine_p50: of a pixel's two descriptors, in the middle pixel.
    :param descriptor_cosine_p01: the same in the pixel that is worse than 99 of 100.
    :param match_overlap: share of the reference's matches that the candidate has too.
    :param point_error_p50: distance of a pixel's two points over their distance from the camera,
        in the middle pixel.
    """

    errors: dict[str, float]
    descriptor_cosine_p50: float | None
    descriptor_cosine_p01: float | None
    match_overlap: float | None
    point_error_p50: float


@dataclass(frozen=True)
class Limits:
    """What a candidate must keep to be used in the place of the reference."""

    descriptor_cosine_p01: float = LEAST_DESCRIPTOR_COSINE
    point_error_p50: float = MOST_POINT_ERROR
    match_overlap: float = LEAST_MATCH_OVERLAP

    def broken_by(self, figures: Figures) -> list[str]:
        """Return, in words, which limits do not hold; what is not finite breaks them too."""
        found = []
        cosine, overlap = figures.descriptor_cosine_p01, figures.match_overlap
        if cosine is not None and not cosine >= self.descriptor_cosine_p01:
            found.append(
                f'descriptor cosine p01 {cosine:.5f} is below {self.descriptor_cosine_p01:g}'
            )
        if not figures.point_error_p50 <= self.point_error_p50:
            found.append(
                f'median point error {figures.point_error_p50:.2g} is above '
                f'{self.point_error_p50:g}'
            )
        if overlap is not None and not overlap >= self.match_overlap:
            found.append(f'match overlap {overlap:.3f} is below {self.match_overlap:g}')
        infinite = [name for name, error in figures.errors.items() if not np.isfinite(error)]
        return found + [f'{name} is not finite' for name in infinite]


def compare(
    reference: InferenceResult,
    candidate: InferenceResult,
    matches: tuple[MatchResult, MatchResult],
) -> Figures:
    """Compare two answers to one pair.

    :param matches: the reference's and the candidate's.
    """
    errors, cosines, point_errors = {}, [], []
    for name in OUTPUTS:
        values, other = getattr(reference, name), getattr(candidate, name)
        if values is None and other is None:
            continue
        if values is None or other is None or values.shape != other.shape:
            raise InvalidInput(
                f'{name} is {_shown(other)} and the reference has {_shown(values)}; compare '
                'engines of one network at one size'
            )
        errors[name] = relative_error(other, values)
        if name.startswith('pts3d'):
            point_errors.append(_point_errors(values, other))
        elif name.startswith('desc_') and values.ndim == 3:
            cosines.append(np.einsum('hwd,hwd->hw', values, other).ravel())
    if not point_errors:
        raise InvalidInput('the engines answer no points, so there is nothing to compare')
    has_descriptors = bool(cosines)
    p50, p01 = _quantiles(np.concatenate(cosines), (50, 1)) if cosines else (None, None)
    (point_error,) = _quantiles(np.concatenate(point_errors), (50,))
    overlap = _overlap(*matches) if has_descriptors else None
    return Figures(errors, p50, p01, overlap, point_error)


def worst(all_figures: Sequence[Figures]) -> Figures:
    """Return the worst of every figure over some pairs."""
    errors = {
        name: max(figures.errors[name] for figures in all_figures)
        for name in all_figures[0].errors
    }
    return Figures(
        errors,
        _least([figures.descriptor_cosine_p50 for figures in all_figures]),
        _least([figures.descriptor_cosine_p01 for figures in all_figures]),
        _least([figures.match_overlap for figures in all_figures]),
        max(figures.point_error_p50 for figures in all_figures),
    )


def as_facts(item: Figures | Limits) -> dict[str, Any]:
    """Return figures or limits as plain values; what is not finite as text, for JSON has none."""
    facts = asdict(item)
    for field in fields(item):
        facts[field.name] = _plain(facts[field.name])
    return facts


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return str(value) if isinstance(value, float) and not np.isfinite(value) else value


def _point_errors(reference: FloatArray, candidate: FloatArray) -> NDArray[np.float64]:
    exact = reference.astype(np.float64)
    distance = np.linalg.norm(exact, axis=-1)
    error = np.linalg.norm(candidate.astype(np.float64) - exact, axis=-1)
    relative: NDArray[np.float64] = error / np.maximum(distance, 1e-12)
    return relative.ravel()


def _quantiles(values: NDArray[Any], percents: Sequence[float]) -> Iterator[float]:
    if not np.isfinite(values).all():
        return iter([float('nan')] * len(percents))
    return map(float, np.percentile(values, percents))


def _overlap(reference: MatchResult, candidate: MatchResult) -> float:
    """Return the share of the reference's matches that the candidate has too."""
    if not len(reference):
        return 1.0
    ends = np.concatenate([reference.pts2d_1, reference.pts2d_2], axis=1)
    others = np.concatenate([candidate.pts2d_1, candidate.pts2d_2], axis=1)
    found = 0
    for start in range(0, len(ends) if len(others) else 0, _BLOCK):
        apart = np.abs(ends[start : start + _BLOCK, None] - others[None]).max(axis=2)
        found += int((apart.min(axis=1) <= _SAME_PX).sum())
    return found / len(ends)


def _least(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.min(known)) if known else None  # NaN stays NaN


def _shown(values: FloatArray | None) -> str:
    return 'absent' if values is None else f'of shape {values.shape}'
