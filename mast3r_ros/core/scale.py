# SPDX-License-Identifier: Apache-2.0
"""What turns the engine's points into metres: the stereo baseline, the model, or nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.config import ScaleRule
from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.geometry import transform, triangulate, weighted_median
from mast3r_ros.core.results import InferenceResult, MatchResult, ScaleSource
from mast3r_ros.errors import InvalidInput

MIN_MATCHES = 50
MIN_PARALLAX_PX = 1.0
MAX_REPROJECTION_PX = 1.0
_SIGMA_OF_MAD = 1.4826  # standard deviation of a normal distribution over its median deviation


@dataclass(frozen=True)
class Scale:
    """The factor that was applied to a pair's points.

    :param spread: relative standard deviation of the single ratios, robust; NaN where unknown.
    :param matches: matches it rests on; 0 when it was taken over from an earlier pair.
    """

    factor: float
    source: ScaleSource
    spread: float = float('nan')
    matches: int = 0


class ScaleKeeper:
    """Decides the scale of each pair and holds the last good baseline scale."""

    def __init__(self, rule: ScaleRule) -> None:
        self.rule = rule
        self.held = 0  # pairs whose scale was taken over from an earlier one
        self._last: Scale | None = None

    def needs_matches(self, result_source: ScaleSource, T_2_1: Matrix | None) -> bool:
        """Whether :meth:`decide` will look at matches."""
        return self._uses_baseline(result_source, T_2_1)

    def decide(
        self, result: InferenceResult, T_2_1: Matrix | None, matches: MatchResult | None
    ) -> Scale:
        """Return the scale of this pair.

        :param T_2_1: pose of the calibrated pair in metres, where there is one.
        """
        if self.rule is ScaleRule.NONE:
            return Scale(1.0, ScaleSource.NONE)
        if result.scale_source is ScaleSource.STEREO_BASELINE:
            return Scale(1.0, ScaleSource.STEREO_BASELINE)
        if result.pts3d_1 is None and result.warp_1_2 is not None and T_2_1 is not None:
            return Scale(1.0, ScaleSource.STEREO_BASELINE)  # triangulated with that very pose
        if self._uses_baseline(result.scale_source, T_2_1):
            return self._from_baseline(result, T_2_1, matches)
        return Scale(1.0, result.scale_source)

    def reset(self) -> None:
        """Forget the last baseline scale."""
        self._last = None

    def _uses_baseline(self, result_source: ScaleSource, T_2_1: Matrix | None) -> bool:
        if result_source is ScaleSource.STEREO_BASELINE:
            return False
        if self.rule is ScaleRule.STEREO_BASELINE and T_2_1 is None:
            raise InvalidInput(
                'scale is stereo_baseline but the pair has no calibrated baseline; give both '
                'camera_infos with R and P, or set scale to auto'
            )
        return T_2_1 is not None and self.rule in (ScaleRule.AUTO, ScaleRule.STEREO_BASELINE)

    def _from_baseline(
        self, result: InferenceResult, T_2_1: Matrix | None, matches: MatchResult | None
    ) -> Scale:
        if T_2_1 is not None and matches is not None:
            ratios, weights = baseline_ratios(result, matches, T_2_1)
            if len(ratios) >= MIN_MATCHES:
                self._last = _scale_of(ratios, weights)
                return self._last
        self.held += 1
        if self._last is not None:
            last = self._last
            return Scale(last.factor, ScaleSource.STEREO_BASELINE, last.spread, matches=0)
        return Scale(1.0, result.scale_source)


def baseline_ratios(
    result: InferenceResult, matches: MatchResult, T_2_1: Matrix
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return triangulated over predicted depth of each trustworthy match, and its weight."""
    camera_1, camera_2 = result.grid_1.camera, result.grid_2.camera
    if camera_1 is None or camera_2 is None or result.pts3d_1 is None or len(matches) == 0:
        return np.empty(0), np.empty(0)
    predicted_z = result.pts3d_1.reshape(-1, 3)[matches.idx_1, 2].astype(np.float64)
    rays_1 = camera_1.unproject(matches.pts2d_1)
    points = triangulate(rays_1, camera_2.unproject(matches.pts2d_2), T_2_1)
    points_in_2 = transform(T_2_1, points)
    far_in_2 = rays_1 @ T_2_1[:3, :3].T  # where each ray ends, infinitely far away
    parallax = _pixel_gap(camera_2.project(far_in_2), matches.pts2d_2)
    miss_1 = _pixel_gap(camera_1.project(points), matches.pts2d_1)
    miss_2 = _pixel_gap(camera_2.project(points_in_2), matches.pts2d_2)
    with np.errstate(invalid='ignore'):
        good = (
            (parallax >= MIN_PARALLAX_PX)
            & (miss_1 <= MAX_REPROJECTION_PX)
            & (miss_2 <= MAX_REPROJECTION_PX)
            & (predicted_z > 0.0)
            & (points[:, 2] > 0.0)
        )
    weights = np.maximum(matches.confidence[good].astype(np.float64), 1e-9)
    return points[good, 2] / predicted_z[good], weights


def _scale_of(ratios: NDArray[np.float64], weights: NDArray[np.float64]) -> Scale:
    factor = weighted_median(ratios, weights)
    deviation = weighted_median(np.abs(ratios - factor), weights)
    spread = _SIGMA_OF_MAD * deviation / factor
    return Scale(factor, ScaleSource.STEREO_BASELINE, spread, len(ratios))


def _pixel_gap(uv: Matrix, other: NDArray[np.float32]) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(uv - other, axis=1))
