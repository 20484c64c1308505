# SPDX-License-Identifier: Apache-2.0
"""Where cameras stand: 4x4 rigid transforms, and the pose of a calibrated stereo pair.

``T_2_1`` takes points of camera 1 into camera 2.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from mast3r_ros.core.cameras import Camera, Matrix, as_matrix
from mast3r_ros.errors import InvalidInput

MIN_BASELINE_M = 1e-6


def stereo_pose(camera_1: Camera, camera_2: Camera) -> Matrix:
    """Return ``T_2_1`` of a calibrated stereo pair from the rectification both cameras carry."""
    R_1, shift_1 = _rectification('first', camera_1)
    R_2, shift_2 = _rectification('second', camera_2)
    T_rectified = np.eye(4)
    T_rectified[:2, 3] = shift_2 - shift_1
    T_2_1 = rotation_pose(R_2.T) @ T_rectified @ rotation_pose(R_1)
    check_baseline(T_2_1)
    return T_2_1


def check_baseline(T_2_1: Matrix) -> float:
    """Return the distance of the two cameras in metres; raise when it is zero or no number."""
    baseline_m = float(np.linalg.norm(T_2_1[:3, 3]))
    if not np.isfinite(baseline_m) or baseline_m < MIN_BASELINE_M:
        raise InvalidInput(
            f'the baseline of the stereo pair is {baseline_m:g} m; the right camera_info needs '
            'P[3] = -fx * baseline, a given T_2_1 its translation in metres'
        )
    return baseline_m


def as_pose(T_2_1: ArrayLike) -> Matrix:
    """Return ``T_2_1`` as a 4x4 rigid transform, checked."""
    T = as_matrix('T_2_1', T_2_1, (4, 4))
    R = T[:3, :3]
    if not np.allclose(R @ R.T, np.eye(3), atol=1e-3) or np.linalg.det(R) < 0.0:
        raise InvalidInput('T_2_1 is no rigid transform: its upper left 3x3 must be a rotation')
    if not np.allclose(T[3], (0.0, 0.0, 0.0, 1.0)):
        raise InvalidInput(f'the last row of T_2_1 is {T[3].tolist()}; it must be 0 0 0 1')
    return T


def rotation_pose(R: Matrix) -> Matrix:
    """Return the 4x4 transform of a 3x3 rotation."""
    T = np.eye(4)
    T[:3, :3] = R
    return T


def _rectification(name: str, camera: Camera) -> tuple[Matrix, Matrix]:
    """Return the rotation into the rectified frame and its shift along x and y in metres."""
    if camera.R is None or camera.P is None:
        raise InvalidInput(
            f'the {name} camera carries no stereo rectification (R and P); '
            'calibrate the pair, or give T_2_1'
        )
    return camera.R, camera.P[:2, 3] / np.diagonal(camera.P)[:2]
