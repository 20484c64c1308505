# SPDX-License-Identifier: Apache-2.0
"""Depth from dense matches of two views whose motion is known."""

from __future__ import annotations

import cv2
import numpy as np

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.results import FloatArray
from mast3r_ros.engines.geometric.flow import Flow
from mast3r_ros.engines.geometric.pixels import sample
from mast3r_ros.engines.geometric.quality import MIN_PARALLAX_PX, confidence

_MAX_EPIPOLAR_PX = 1.5  # farther off its line, a match moves by itself


def cloud_from_flow(
    flow: Flow, camera: Camera, other: Camera, T_other: Matrix
) -> tuple[FloatArray, FloatArray]:
    """Return points (H, W, 3) in the frame of ``camera``, and their confidence.

    A match is taken along its epipolar line: with a ray's inverse depth, its place in the other
    view moves from that of infinity, a, towards the epipole, t.
    """
    R, t = T_other[:3, :3].astype(np.float32), T_other[:3, 3].astype(np.float32)
    a = camera.rays @ R.T
    x, y = _normalised(other, flow.warp)
    from_infinity = a[..., 0] - x * a[..., 2], a[..., 1] - y * a[..., 2]
    to_epipole = t[0] - x * t[2], t[1] - y * t[2]
    length = np.hypot(*to_epipole) + np.float32(1e-12)
    along = -(from_infinity[0] * to_epipole[0] + from_infinity[1] * to_epipole[1]) / length
    across = (from_infinity[0] * to_epipole[1] - from_infinity[1] * to_epipole[0]) / length
    to_px = np.float32(focal_px(other)) / np.where(a[..., 2] > 0.0, a[..., 2], np.float32(np.nan))
    epipolar_px, parallax_px = np.abs(across) * to_px, along * to_px
    good = (epipolar_px <= _MAX_EPIPOLAR_PX) & (parallax_px >= MIN_PARALLAX_PX)
    depth = np.where(good, length / along, np.float32(np.nan))
    good &= a[..., 2] * depth + t[2] > 0.0
    depth[~good] = np.nan
    fit = 1.0 - epipolar_px / np.float32(2.0 * _MAX_EPIPOLAR_PX)
    conf = confidence(flow.quality * fit, np.where(good, parallax_px, np.float32(np.nan)))
    return camera.rays * depth[..., None], conf


def focal_px(camera: Camera) -> float:
    """Return what turns small angles into pixels, for the whole camera."""
    return 0.5 * (camera.fx + camera.fy)


def _normalised(camera: Camera, pixels: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return x and y of the rays, z = 1, of pixels (H, W, 2)."""
    center, focal = camera.K[:2, 2].astype(np.float32), camera.K[[0, 1], [0, 1]].astype(np.float32)
    xy = (pixels - center) / focal
    if camera.is_distorted:
        pinhole = camera.undistorted().rays
        xy += sample(camera.rays[..., :2] - pinhole[..., :2], pixels, cv2.INTER_LINEAR)
    return xy[..., 0], xy[..., 1]
