# SPDX-License-Identifier: Apache-2.0
"""Two calibrated cameras brought onto common rows.

In the rectified frame x points from camera 1 to camera 2, so that camera 2 is the right one
whichever way they stand. A point at rectified depth Z lies
``focal_px * baseline_m / Z + infinity_px`` pixels farther left in view 2 than in view 1.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.engines.geometric.rectified_view import (
    RectifiedView,
    resampled_view,
    turned_view,
)

_MAX_TILT = 0.6  # sine of the largest angle of the baseline to the picture that is rectified
_SAME_PIXEL_PX = 0.02  # pairs this close to rectified are not resampled
_MAX_TANGENT = 1.75  # rays farther than 60 degrees off the axis are left out
_OUTLYING_PERCENT = 0.5  # of the pixels at each side that may fall off the rectified picture
_MAX_AREA_GROWTH = 1.25  # rectified pixels for each raw one


@dataclass(frozen=True, eq=False)
class StereoRig:
    """A calibrated pair, rectified."""

    view_1: RectifiedView
    view_2: RectifiedView
    focal_px: float
    baseline_m: float
    infinity_px: float  # disparity of a point infinitely far away


def build_rig(camera_1: Camera, camera_2: Camera, T_2_1: Matrix) -> StereoRig | None:
    """Plan the rectification of a pair.

    :return: None where one camera stands before the other or they share no view.
    """
    rotations = _rectifying_rotations(T_2_1)
    if rotations is None:
        return None
    turned = _turned_rig(camera_1, camera_2, T_2_1, rotations)
    return turned or _resampled_rig(camera_1, camera_2, T_2_1, rotations)


def _rectifying_rotations(T_2_1: Matrix) -> tuple[Matrix, Matrix] | None:
    """Return both cameras' rotations into the rectified frame; each turns half of the way."""
    half = cv2.Rodrigues(cv2.Rodrigues(T_2_1[:3, :3])[0] / 2.0)[0]
    x_axis = half @ _center_2(T_2_1) / _baseline_m(T_2_1)
    if abs(x_axis[2]) > _MAX_TILT:
        return None
    z_axis = np.array([0.0, 0.0, 1.0]) - x_axis[2] * x_axis
    z_axis /= np.linalg.norm(z_axis)
    rectified_axes = np.stack([x_axis, np.cross(z_axis, x_axis), z_axis])
    return rectified_axes @ half, rectified_axes @ half.T


def _turned_rig(
    camera_1: Camera, camera_2: Camera, T_2_1: Matrix, rotations: tuple[Matrix, Matrix]
) -> StereoRig | None:
    """Return the rig of a pair that is rectified as it comes, but for quarter turns."""
    size = camera_1.width, camera_1.height
    if camera_1.is_distorted or camera_2.is_distorted or size != (camera_2.width, camera_2.height):
        return None
    turns = round(np.arctan2(rotations[0][0, 1], rotations[0][0, 0]) / (np.pi / 2)) % 4
    to_turned = _turn_pixels(turns, *size)
    K_1, K_2 = (to_turned @ camera.K @ _turn_axes(turns).T for camera in (camera_1, camera_2))
    rows_of_1 = K_1.copy()
    rows_of_1[0, 2] = K_2[0, 2]  # along the rows the principal points may differ
    for camera, R, K in ((camera_1, rotations[0], K_1), (camera_2, rotations[1], rows_of_1)):
        exact = K @ R @ np.linalg.inv(camera.K)
        if _largest_shift_px(exact, to_turned, camera) > _SAME_PIXEL_PX:
            return None
    axes_2 = rotations[0].T @ rotations[1]
    view_1 = turned_view(camera_1, turns, np.eye(3), np.zeros(3), to_turned)
    view_2 = turned_view(camera_2, turns, axes_2, _center_2(T_2_1), to_turned)
    infinity_px = float(K_1[0, 2] - K_2[0, 2])
    return StereoRig(view_1, view_2, float(K_1[0, 0]), _baseline_m(T_2_1), infinity_px)


def _turn_axes(turns: int) -> Matrix:
    """Return the rotation about the optical axis by quarter turns, in whole numbers."""
    c, s = ((1, 0), (0, 1), (-1, 0), (0, -1))[turns]
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]], np.float64)


def _turn_pixels(turns: int, width: int, height: int) -> Matrix:
    """Return the 3x3 map of the pixels of a picture onto those of the turned one."""
    A = _turn_axes(turns)
    A[:2, 2] = ((0, 0), (0, width - 1), (width - 1, height - 1), (height - 1, 0))[turns]
    return A


def _largest_shift_px(exact: Matrix, turned: Matrix, camera: Camera) -> float:
    """Return how far the corners of the picture lie from where a mere turn puts them."""
    right, bottom = camera.width - 1, camera.height - 1
    corners = np.array([[0, 0, 1], [right, 0, 1], [0, bottom, 1], [right, bottom, 1]])
    mapped = corners @ exact.T
    return float(np.abs(mapped[:, :2] / mapped[:, 2:] - (corners @ turned.T)[:, :2]).max())


def _resampled_rig(
    camera_1: Camera, camera_2: Camera, T_2_1: Matrix, rotations: tuple[Matrix, Matrix]
) -> StereoRig | None:
    """Return the rig of a pair whose pictures must be resampled; None if they share no rows."""
    extent_1 = _extent(camera_1, rotations[0])
    extent_2 = _extent(camera_2, rotations[1])
    if extent_1 is None or extent_2 is None:
        return None
    (left_1, top_1, right_1, bottom_1), (left_2, top_2, right_2, bottom_2) = extent_1, extent_2
    top, bottom = max(top_1, top_2), min(bottom_1, bottom_2)
    span = max(right_1 - left_1, right_2 - left_2), bottom - top
    if min(span) <= 0.0:
        return None
    focal_px = _focal_px(camera_1, span)
    size = max(1, round(span[0] * focal_px)), max(1, round(span[1] * focal_px))
    K_1, K_2 = (
        np.array([[focal_px, 0, -left * focal_px], [0, focal_px, -top * focal_px], [0, 0, 1]])
        for left in (left_1, left_2)
    )
    axes_2 = rotations[0].T @ rotations[1]
    view_1 = resampled_view(camera_1, rotations[0], np.eye(3), np.zeros(3), K_1, size)
    view_2 = resampled_view(camera_2, rotations[1], axes_2, _center_2(T_2_1), K_2, size)
    infinity_px = float(K_1[0, 2] - K_2[0, 2])
    return StereoRig(view_1, view_2, focal_px, _baseline_m(T_2_1), infinity_px)


def _extent(camera: Camera, R: Matrix) -> tuple[float, float, float, float] | None:
    """Return left, top, right, bottom of the rectified view, at a focal length of 1."""
    rays = camera.rays.reshape(-1, 3) @ R.T
    with np.errstate(divide='ignore', invalid='ignore'):
        tangents = rays[:, :2] / rays[:, 2:]
        wide = (rays[:, 2] > 0.0) & (np.abs(tangents) < _MAX_TANGENT).all(axis=1)
    if not wide.any():
        return None
    low, high = np.percentile(
        tangents[wide], (_OUTLYING_PERCENT, 100.0 - _OUTLYING_PERCENT), axis=0
    )
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _focal_px(camera: Camera, span: tuple[float, float]) -> float:
    """Return the camera's own focal length, or less where the picture would grow too large."""
    own_px = 0.5 * (camera.fx + camera.fy)
    area_px = _MAX_AREA_GROWTH * camera.width * camera.height
    return float(min(own_px, np.sqrt(area_px / (span[0] * span[1]))))


def _center_2(T_2_1: Matrix) -> Matrix:
    """Return where camera 2 stands in the frame of camera 1."""
    return np.asarray(-T_2_1[:3, :3].T @ T_2_1[:3, 3])


def _baseline_m(T_2_1: Matrix) -> float:
    return float(np.linalg.norm(T_2_1[:3, 3]))
