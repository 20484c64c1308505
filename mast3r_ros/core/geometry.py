# SPDX-License-Identifier: Apache-2.0
"""Geometry of two views: depth along rays, points on rays, weighted medians."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.results import FloatArray


def transform(T_target_source: Matrix, points: NDArray[Any]) -> NDArray[np.float64]:
    """Return points (..., 3) of the source frame in the target frame."""
    return np.asarray(points @ T_target_source[:3, :3].T + T_target_source[:3, 3])


def triangulate(rays_1: NDArray[Any], rays_2: NDArray[Any], T_2_1: Matrix) -> NDArray[np.float64]:
    """Return the points (N, 3), in the frame of camera 1, where rays of both cameras are nearest.

    :param rays_1: (N, 3) rays of camera 1, any length.
    :param rays_2: (N, 3) rays of camera 2, any length.
    :return: midpoints of the shortest connection; NaN for parallel rays.
    """
    R, t = T_2_1[:3, :3], T_2_1[:3, 3]
    along_1 = np.asarray(rays_1, np.float64)
    along_2 = np.asarray(rays_2, np.float64) @ R  # camera 2's rays in the frame of camera 1
    center_2 = -R.T @ t
    a, b, c = _dot(along_1, along_1), _dot(along_1, along_2), _dot(along_2, along_2)
    d, e = along_1 @ center_2, along_2 @ center_2
    denominator = a * c - b * b
    parallel = denominator <= 1e-14 * a * c
    safe = np.where(parallel, np.nan, denominator)
    reach_1, reach_2 = (c * d - b * e) / safe, (b * d - a * e) / safe
    midpoints = along_1 * reach_1[:, None] + along_2 * reach_2[:, None] + center_2
    return np.asarray(0.5 * midpoints)


def cloud_from_warp(
    warp_1_2: FloatArray, camera_1: Camera, camera_2: Camera, T_2_1: Matrix
) -> FloatArray:
    """Return the cloud (H, W, 3) that a warp and two calibrated cameras amount to.

    :param warp_1_2: (H, W, 2) where each pixel of view 1 lies in view 2; NaN where unknown.
    """
    height, width = warp_1_2.shape[:2]
    points = np.full((height * width, 3), np.nan, np.float32)
    known = np.isfinite(warp_1_2).all(axis=2).reshape(-1)
    rays_1 = camera_1.rays.reshape(-1, 3)[known]
    rays_2 = camera_2.unproject(warp_1_2.reshape(-1, 2)[known])
    lifted = triangulate(rays_1, rays_2, T_2_1)
    lifted[~(lifted[:, 2] > 0.0)] = np.nan
    points[known] = lifted
    return points.reshape(height, width, 3)


def put_on_rays(points: FloatArray, camera: Camera) -> FloatArray:
    """Keep each point's Z and move it onto its own pixel's ray; behind the camera becomes NaN."""
    depth = np.where(points[..., 2:] > 0.0, points[..., 2:], np.float32(np.nan))
    return np.asarray(camera.rays * depth, np.float32)


def weighted_median(values: NDArray[Any], weights: NDArray[Any]) -> float:
    """Return the value that half of the weight lies below."""
    order = np.argsort(values, kind='stable')
    cumulative = np.cumsum(np.asarray(weights, np.float64)[order])
    middle = np.searchsorted(cumulative, 0.5 * cumulative[-1])
    return float(values[order[min(int(middle), len(order) - 1)]])


def _dot(left: NDArray[Any], right: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.einsum('ij,ij->i', left, right))
