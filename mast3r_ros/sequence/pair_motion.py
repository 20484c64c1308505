# SPDX-License-Identifier: Apache-2.0
"""The motion between a frame and a keyframe: by pixels and depth where the camera is known, by
directions and distances of the points themselves where it is not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.products import PairResult
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import Grid
from mast3r_ros.sequence.keyframe import Keyframe, sample_depth, sample_rays, slopes_of
from mast3r_ros.sequence.motion import Motion, find_motion, parallax, thinned
from mast3r_ros.sequence.ray_alignment import align_rays

Values = NDArray[np.float64]
Surface = tuple[FloatArray, Grid]
"""Points (H, W, 3) in their own camera's frame, and the grid that they lie on."""


@dataclass(frozen=True, eq=False)
class Matched:
    """Matches of a frame (1) and a keyframe (2), a row each.

    :param rays_1: (N, 3) directions, z = 1; ``z_1`` the depths, in the unit of the frame's points.
    :param rays_2: the same of the keyframe, in its unit.
    :param trust: (N,) how much each match counts where points are compared.
    :param focal_px: of the engine's grid, to whose pixels matches are good.
    """

    uv_1: NDArray[np.float32]
    uv_2: NDArray[np.float32]
    rays_1: Matrix
    rays_2: Matrix
    z_1: Values
    z_2: Values
    trust: Values
    focal_px: float


def matched(
    result: PairResult, keyframe: Keyframe, camera: Camera, surface_1: Surface | None = None
) -> Matched:
    """Return the matches of an answered pair whose directions are known, thinned.

    :param camera: of view 1, as it is known or believed to be.
    :param surface_1: points of view 1 where they are known better than by this pair.
    """
    matches = result.matches
    assert matches is not None
    rows = thinned(len(matches))
    uv_1, uv_2 = matches.uv_1[rows], matches.uv_2[rows]
    if surface_1 is None and result.cloud_1 is not None:
        surface_1 = result.cloud_1.points, result.cloud_1.grid
    if keyframe.goes_by_points and surface_1 is not None:
        rays_1 = sample_rays(slopes_of(surface_1[0]), surface_1[1], uv_1)
    else:
        rays_1 = camera.unproject(uv_1)
    rays_2 = keyframe.rays_at(uv_2)
    seen = np.isfinite(rays_1).all(axis=1) & np.isfinite(rays_2).all(axis=1)
    uv_1, uv_2, rays_1, rays_2 = uv_1[seen], uv_2[seen], rays_1[seen], rays_2[seen]
    z_1 = np.full(len(uv_1), np.nan)
    if surface_1 is not None:
        z_1 = sample_depth(surface_1[0][..., 2], surface_1[1], uv_1)
    grid = keyframe.grid if surface_1 is None else surface_1[1]
    return Matched(
        uv_1,
        uv_2,
        rays_1,
        rays_2,
        z_1,
        keyframe.depth_at(uv_2),
        _trust(result, keyframe, uv_1, uv_2),
        camera.fx * grid.scale[0],
    )


def by_pixels(
    pair: Matched, starts: tuple[Matrix, ...], *, has_depth: bool
) -> tuple[Motion | None, str]:
    """Return the motion ``T_camera_keyframe`` that fits the calibration, or why there is none.

    :param has_depth: whether the keyframe's depth is known; the frame's serves where not.
    """
    if has_depth:
        motion = find_motion(pair.rays_2, pair.rays_1, pair.z_2, pair.focal_px, starts)
    else:
        motion = _inverse(find_motion(pair.rays_1, pair.rays_2, pair.z_1, pair.focal_px))
    return motion, '' if motion is not None else 'no pose explains the matches'


def by_rays(pair: Matched, starts: tuple[Matrix, ...]) -> tuple[Motion | None, str]:
    """Return the motion ``T_camera_keyframe`` that fits the points themselves, or why not."""
    found = align_rays(
        pair.rays_2 * pair.z_2[:, None],
        pair.rays_1 * pair.z_1[:, None],
        pair.trust,
        pair.focal_px,
        starts,
    )
    if found.T_b_a is None:
        return None, found.reason
    kept = found.inliers
    left_px = parallax(pair.rays_2[kept], pair.rays_1[kept], found.T_b_a, pair.focal_px)
    return Motion(found.T_b_a, kept, left_px, True, found.covariance), ''


def _inverse(motion: Motion | None) -> Motion | None:
    if motion is None:
        return None
    T = np.asarray(np.linalg.inv(motion.T_b_a))
    return Motion(T, motion.inliers, motion.parallax_px, motion.has_length)


def _trust(
    result: PairResult,
    keyframe: Keyframe,
    uv_1: NDArray[np.float32],
    uv_2: NDArray[np.float32],
) -> Values:
    """Return the geometric mean of the confidence of both points of each match."""
    weight = keyframe.weight / np.float32(max(1, keyframe.opinions))
    trust = sample_depth(weight, keyframe.grid, uv_2)
    if result.cloud_1 is not None:
        own = result.cloud_1.confidence - np.float32(1.0)
        trust = trust * sample_depth(own, result.cloud_1.grid, uv_1)
    return np.asarray(np.sqrt(np.maximum(trust, 1e-9)))
