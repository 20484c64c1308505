# SPDX-License-Identifier: Apache-2.0
"""Similarities (rotation, shift and one scale) that bring one set of points onto another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.errors import InvalidInput

_FLAT = 1e-12  # second largest extent over the largest, squared: below, points lie on a line


@dataclass(frozen=True, eq=False)
class Similarity:
    """``target = scale * R @ source + t``."""

    R: Matrix
    t: NDArray[np.float64]
    scale: float = 1.0

    def points(self, source: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return points (..., 3) moved."""
        return np.asarray(self.scale * source @ self.R.T + self.t)

    def poses(self, T_source_camera: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return poses (N, 4, 4) moved; cameras keep their size, so rotations stay rotations."""
        moved = np.tile(np.eye(4), (len(T_source_camera), 1, 1))
        moved[:, :3, :3] = self.R @ T_source_camera[:, :3, :3]
        moved[:, :3, 3] = self.points(T_source_camera[:, :3, 3])
        return moved


def fit_similarity(
    source: NDArray[np.float64], target: NDArray[np.float64], *, with_scale: bool
) -> Similarity:
    """Return what brings points (N, 3) nearest to their partners, in the least squares' sense.

    Points on a line leave the turn about that line open; any is taken.
    """
    if source.shape != target.shape or len(source) < 3:
        raise InvalidInput(
            f'{len(source)} and {len(target)} points cannot be aligned; give at least 3 pairs'
        )
    mean_source, mean_target = source.mean(axis=0), target.mean(axis=0)
    from_source, from_target = source - mean_source, target - mean_target
    U, sizes, Vt = np.linalg.svd(from_target.T @ from_source / len(source))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(U) * np.linalg.det(Vt)) or 1.0])
    R = U @ flip @ Vt
    variance = float((from_source**2).sum() / len(source))
    scale = 1.0
    if with_scale:
        if variance <= _FLAT * max(1.0, float((mean_source**2).sum())):
            raise InvalidInput('the camera of the trajectory stands still: it tells no scale')
        scale = float((sizes * np.diag(flip)).sum() / variance)
    return Similarity(R, mean_target - scale * R @ mean_source, scale)
