# SPDX-License-Identifier: Apache-2.0
"""Poses as ROS messages' fields, in a world whose z is up.

A sequence's world has the axes of its first view: x right, y down, z ahead. ROS wants x ahead,
y left, z up, so everything in the world is turned by one constant rotation on its way out.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.rotations import quaternion_of
from mast3r_ros.wire.message_fields import MessageFields
from mast3r_ros.wire.stamps import header_fields

R_ROS_OPTICAL = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""Turns the axes of an optical frame into those of a ROS world."""

UNKNOWN_VARIANCE = 1e6
"""Stands for a covariance that nothing is known of."""


def in_ros_world(T_world_camera: Matrix) -> Matrix:
    """Return a camera's pose in the turned world; the camera keeps its optical axes."""
    T = np.eye(4)
    T[:3] = R_ROS_OPTICAL @ T_world_camera[:3]
    return T


def from_ros_world(T_ros_camera: Matrix) -> Matrix:
    """Return a camera's pose in a ROS world as one in a sequence's, which has optical axes."""
    T = np.eye(4)
    T[:3] = R_ROS_OPTICAL.T @ T_ros_camera[:3]
    return T


def points_in_ros_world(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return points (N, 3) of the world in the turned one."""
    return np.asarray(points @ R_ROS_OPTICAL.T.astype(np.float32))


def pose_fields(T: Matrix) -> MessageFields:
    """Return a ``geometry_msgs/Pose``."""
    return MessageFields(
        'geometry_msgs/msg/Pose',
        {'position': _point('Point', T[:3, 3]), 'orientation': _quaternion(T)},
    )


def pose_stamped_fields(stamp_ns: int, frame_id: str, T: Matrix) -> MessageFields:
    """Return a ``geometry_msgs/PoseStamped``."""
    return MessageFields(
        'geometry_msgs/msg/PoseStamped',
        {'header': header_fields(stamp_ns, frame_id), 'pose': pose_fields(T)},
    )


def path_fields(
    stamp_ns: int, frame_id: str, poses: Sequence[tuple[int, Matrix]]
) -> MessageFields:
    """Return a ``nav_msgs/Path`` of stamps and poses."""
    return MessageFields(
        'nav_msgs/msg/Path',
        {
            'header': header_fields(stamp_ns, frame_id),
            'poses': [pose_stamped_fields(at_ns, frame_id, T) for at_ns, T in poses],
        },
    )


def odometry_fields(
    stamp_ns: int,
    frame_id: str,
    child_frame_id: str,
    T: Matrix,
    covariance: NDArray[np.float64] | None,
) -> MessageFields:
    """Return a ``nav_msgs/Odometry``.

    :param covariance: (6, 6) of the pose in the world before it was turned; None: unknown. Of
        the velocity nothing is known, and its covariance says so.
    """
    zero = _point('Vector3', np.zeros(3))
    twist = MessageFields('geometry_msgs/msg/Twist', {'linear': zero, 'angular': zero})
    return MessageFields(
        'nav_msgs/msg/Odometry',
        {
            'header': header_fields(stamp_ns, frame_id),
            'child_frame_id': child_frame_id,
            'pose': MessageFields(
                'geometry_msgs/msg/PoseWithCovariance',
                {'pose': pose_fields(T), 'covariance': _covariance(covariance)},
            ),
            'twist': MessageFields(
                'geometry_msgs/msg/TwistWithCovariance',
                {'twist': twist, 'covariance': _covariance(None)},
            ),
        },
    )


def tf_fields(stamp_ns: int, frame_id: str, child_frame_id: str, T: Matrix) -> MessageFields:
    """Return a ``tf2_msgs/TFMessage`` of one transform."""
    transform = MessageFields(
        'geometry_msgs/msg/Transform',
        {'translation': _point('Vector3', T[:3, 3]), 'rotation': _quaternion(T)},
    )
    stamped = MessageFields(
        'geometry_msgs/msg/TransformStamped',
        {
            'header': header_fields(stamp_ns, frame_id),
            'child_frame_id': child_frame_id,
            'transform': transform,
        },
    )
    return MessageFields('tf2_msgs/msg/TFMessage', {'transforms': [stamped]})


def _point(kind: str, values: NDArray[np.float64]) -> MessageFields:
    x, y, z = (float(value) for value in values)
    return MessageFields(f'geometry_msgs/msg/{kind}', {'x': x, 'y': y, 'z': z})


def _quaternion(T: Matrix) -> MessageFields:
    x, y, z, w = (float(value) for value in quaternion_of(T[:3, :3]))
    return MessageFields('geometry_msgs/msg/Quaternion', {'x': x, 'y': y, 'z': z, 'w': w})


def _covariance(covariance: NDArray[np.float64] | None) -> NDArray[np.float64]:
    if covariance is None:
        return (UNKNOWN_VARIANCE * np.eye(6)).reshape(-1)
    turn = np.kron(np.eye(2), R_ROS_OPTICAL)
    return np.ascontiguousarray(turn @ covariance @ turn.T).reshape(-1)
