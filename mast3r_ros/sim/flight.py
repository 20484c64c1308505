# SPDX-License-Identifier: Apache-2.0
"""The drone's way: a smooth ring that ends as it began, looking ahead, down and inwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mast3r_ros.core.cameras import Matrix

_RADIUS_M = (3.55, 3.2)  # half axes of the ring along x and y
_HEIGHT_M = 2.4
_INWARDS_RAD = 0.55  # how far the view is turned from straight ahead to the middle
_DOWN_RAD = 0.38
_OPTICAL_IN_BODY = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True)
class Flight:
    """One loop takes ``period_s``; poses and their derivatives are the same after each."""

    period_s: float = 16.0

    def pose(self, time_s: float) -> Matrix:
        """Return ``T_world_left``: the rectified left camera's optical frame in the world."""
        phase = 2.0 * np.pi * (time_s / self.period_s % 1.0)
        T = np.eye(4)
        T[:3, :3] = _attitude(phase) @ _OPTICAL_IN_BODY
        T[:3, 3] = _position(phase)
        return T


def _position(phase: float) -> Matrix:
    return np.array(
        [
            _RADIUS_M[0] * np.cos(phase) + 0.25 * np.cos(2.0 * phase + 0.6),
            _RADIUS_M[1] * np.sin(phase) + 0.20 * np.sin(3.0 * phase),
            _HEIGHT_M + 0.28 * np.sin(2.0 * phase + 0.9) + 0.05 * np.sin(5.0 * phase),
        ]
    )


def _attitude(phase: float) -> Matrix:
    """Return the body (x ahead, y left, z up) in the world."""
    ahead = phase + 0.5 * np.pi
    yaw = ahead + _INWARDS_RAD + 0.22 * np.sin(2.0 * phase) + 0.05 * np.sin(5.0 * phase + 1.0)
    pitch = _DOWN_RAD + 0.07 * np.sin(3.0 * phase + 0.4)  # positive looks down
    roll = -0.06 + 0.06 * np.sin(2.0 * phase + 2.0)
    return _about(2, yaw) @ _about(1, pitch) @ _about(0, roll)


def _about(axis: int, angle: float) -> Matrix:
    first, second = (axis + 1) % 3, (axis + 2) % 3
    R = np.eye(3)
    R[first, first] = R[second, second] = np.cos(angle)
    R[second, first] = np.sin(angle)
    R[first, second] = -np.sin(angle)
    return R
