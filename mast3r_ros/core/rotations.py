# SPDX-License-Identifier: Apache-2.0
"""Rotation matrices as unit quaternions, in the order x, y, z, w that ROS and TUM files use."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def quaternion_of(R: NDArray[Any]) -> NDArray[np.float64]:
    """Return the unit quaternion (x, y, z, w), w >= 0, of a 3x3 rotation.

    It is the eigenvector of the largest eigenvalue of a symmetric matrix made from R, which is
    well conditioned for every angle.
    """
    xx, xy, xz, yx, yy, yz, zx, zy, zz = np.asarray(R, np.float64).reshape(-1)
    K = np.array(
        [
            [xx - yy - zz, 0.0, 0.0, 0.0],
            [xy + yx, yy - xx - zz, 0.0, 0.0],
            [xz + zx, yz + zy, zz - xx - yy, 0.0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    _, vectors = np.linalg.eigh(K)  # reads the lower half
    quaternion = vectors[:, -1]
    return np.asarray(-quaternion if quaternion[3] < 0.0 else quaternion)


def rotation_of(quaternion: NDArray[Any]) -> NDArray[np.float64]:
    """Return the 3x3 rotation of a quaternion (x, y, z, w) of any length but 0."""
    x, y, z, w = np.asarray(quaternion, np.float64) / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
