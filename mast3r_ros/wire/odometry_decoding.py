# SPDX-License-Identifier: Apache-2.0
"""A ``nav_msgs/Odometry`` as a stamp and a pose, or why it cannot be one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.rotations import rotation_of
from mast3r_ros.errors import ConfigError, InvalidInput
from mast3r_ros.wire.stamps import stamp_ns

_LENGTH_OFF = 0.01  # that a unit quaternion may be off by
_FARTHEST_M = 1e7


def decode_odometry(message: Any) -> tuple[int, Matrix]:
    """Return the stamp in nanoseconds and the pose of the child frame, as 4x4.

    :raises InvalidInput: a number is none, the quaternion has not length 1, or there is no stamp.
    """
    at, turn = message.pose.pose.position, message.pose.pose.orientation
    place = np.array([at.x, at.y, at.z], np.float64)
    quaternion = np.array([turn.x, turn.y, turn.z, turn.w], np.float64)
    if not (np.abs(place) < _FARTHEST_M).all():
        raise InvalidInput(
            f'the position is {_shown(place)}; allowed are finite numbers of metres'
        )
    length = float(np.linalg.norm(quaternion))
    if not abs(length - 1.0) < _LENGTH_OFF:
        raise InvalidInput(
            f'the orientation is {_shown(quaternion)}, of length {length:.3g}; a quaternion '
            'x y z w of length 1 is needed'
        )
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation_of(quaternion), place
    at_ns = stamp_ns(message.header.stamp)
    if at_ns == 0:
        raise InvalidInput('the stamp is 0; the time at which the pose was measured is needed')
    return at_ns, T


def pose_of_numbers(name: str, numbers: Sequence[float]) -> Matrix:
    """Return a pose given as x y z roll pitch yaw, in metres and radians.

    :param name: of the setting that holds it.
    """
    values = np.array(numbers, np.float64)
    if not (np.abs(values) < 1e3).all():
        text = f'{name} is {list(numbers)}; six finite numbers x y z roll pitch yaw are needed'
        raise ConfigError([(name, text)])
    (sx, sy, sz), (cx, cy, cz) = np.sin(values[3:]), np.cos(values[3:])
    T = np.eye(4)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    T[:3, :3], T[:3, 3] = about_z @ about_y @ about_x, values[:3]
    return T


def _shown(values: Matrix) -> str:
    return '(' + ', '.join(f'{value:.4g}' for value in values) + ')'
