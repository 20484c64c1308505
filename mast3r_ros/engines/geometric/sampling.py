# SPDX-License-Identifier: Apache-2.0
"""A first guess of the motion between two views, by sampling matches: PoseLib where it is
installed, which bears more wrong matches, and OpenCV elsewhere. Equal matches give equal guesses.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix

Guess = tuple[Matrix, NDArray[np.float64]]
"""Rotation of camera 1 into camera 2, and direction of the translation."""

INLIER_PX = 1.0
"""Distance from the epipolar line up to which a match agrees."""

_SEED = 0
_CONFIDENCE = 0.999
_MIN_SAMPLES = 50  # of PoseLib, whose default of 1000 costs more than it finds


def sampled_motion(rays_1: Matrix, rays_2: Matrix, focal_px: float) -> list[Guess]:
    """Return a motion that many matches agree with; none where sampling fails.

    :param rays_1: (N, 3) with z = 1; ``rays_2`` are what they match in view 2.
    """
    library = poselib()
    points = rays_1[:, :2] * focal_px, rays_2[:, :2] * focal_px
    if library is None:
        return by_opencv(*points, focal_px)
    return by_poselib(library, *points, focal_px)


@cache
def poselib() -> Any:
    """Return PoseLib, or None where it is not installed."""
    try:
        import poselib as library
    except ImportError:
        return None
    return library


def by_poselib(library: Any, points_1: Matrix, points_2: Matrix, focal_px: float) -> list[Guess]:
    """Return PoseLib's guess from pixels (N, 2) around the principal points."""
    camera = {'model': 'SIMPLE_PINHOLE', 'width': 0, 'height': 0, 'params': [focal_px, 0.0, 0.0]}
    sampling = {
        'max_epipolar_error': INLIER_PX,
        'min_iterations': _MIN_SAMPLES,
        'success_prob': _CONFIDENCE,
        'seed': _SEED,
    }
    found, _ = library.estimate_relative_pose(points_1, points_2, camera, camera, sampling, {})
    R, t = np.asarray(found.R), np.asarray(found.t)
    length = float(np.linalg.norm(t))
    if not np.isfinite(R).all() or not length > 0.0:
        return []
    return [(R, t / length)]


def by_opencv(points_1: Matrix, points_2: Matrix, focal_px: float) -> list[Guess]:
    """Return OpenCV's guess from pixels (N, 2) around the principal points."""
    cv2.setRNGSeed(_SEED)
    K = np.diag([focal_px, focal_px, 1.0])
    try:
        E, _ = cv2.findEssentialMat(
            points_1,
            points_2,
            K,
            method=cv2.USAC_MAGSAC,
            prob=_CONFIDENCE,
            threshold=INLIER_PX,
        )
        R, _, t = cv2.decomposeEssentialMat(E[:3])
    except (cv2.error, TypeError):  # degenerate samples; no matrix at all
        return []
    return [(np.asarray(R), np.asarray(t).ravel())]
