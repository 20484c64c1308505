# SPDX-License-Identifier: Apache-2.0
"""The camera that a pointmap itself tells of, where nobody has calibrated the real one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.geometry import weighted_median
from mast3r_ros.core.products import Cloud
from mast3r_ros.core.results import FloatArray

MAX_SAMPLES = 10_000
MIN_SAMPLES = 50
_SHORTEST, _LONGEST = 0.1, 20.0  # believable focal lengths, in widths of the picture


def with_camera(cloud: Cloud | None) -> tuple[Cloud | None, tuple[str, ...]]:
    """Return a cloud whose grid has a camera, estimated where there is none, and what to say."""
    if cloud is None or cloud.grid.camera is not None:
        return cloud, ()
    camera = estimate_camera(cloud.points, cloud.confidence)
    if camera is None:
        return cloud, ('there is no calibration, and the points tell no focal length either',)
    note = (
        'there is no calibration: the focal length is estimated from the points as '
        f'{camera.fx:.1f} px at {camera.width}x{camera.height}'
    )
    return replace(cloud, grid=replace(cloud.grid, camera=camera)), (note,)


def estimate_camera(points: FloatArray, confidence: FloatArray | None) -> Camera | None:
    """Return the pinhole camera that fits points to the pixels they belong to, if one does.

    Its principal point is the picture's centre and its pixels are square.

    :param points: (H, W, 3) in the camera's frame, in any unit; NaN where there is none.
    :param confidence: (H, W), 1 is none; without it every point counts alike.
    """
    height, width = points.shape[:2]
    focal_px = estimate_focal_px(points, confidence)
    if focal_px is None or not _SHORTEST * width <= focal_px <= _LONGEST * width:
        return None
    cx, cy = (width - 1) / 2, (height - 1) / 2
    return Camera.pinhole(width, height, focal_px, focal_px, cx, cy)


def estimate_focal_px(points: FloatArray, confidence: FloatArray | None) -> float | None:
    """Return the focal length in pixels: the weighted median of what each confident point says."""
    height, width = points.shape[:2]
    every = max(1, int(np.sqrt(height * width / MAX_SAMPLES)))
    rows, columns = np.mgrid[0:height:every, 0:width:every]
    x, y, z = np.moveaxis(points[::every, ::every].astype(np.float64), 2, 0)
    weights = np.ones(z.shape) if confidence is None else confidence[::every, ::every] - 1.0
    from_centre = np.stack([columns - (width - 1) / 2, rows - (height - 1) / 2])
    with np.errstate(invalid='ignore', divide='ignore'):
        slope = np.stack([x / z, y / z])
        focal_px = (from_centre * slope).sum(axis=0) / (slope**2).sum(axis=0)
        # Near the centre an error of a pixel is a large part of the offset: it tells little.
        weights = weights * np.hypot(*from_centre)
        known = (z > 0.0) & np.isfinite(focal_px) & (weights > 0.0)
    if np.count_nonzero(known) < MIN_SAMPLES:
        return None
    return weighted_median(focal_px[known], weights[known])
