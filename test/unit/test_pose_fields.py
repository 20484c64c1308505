# SPDX-License-Identifier: Apache-2.0
"""Poses leave for ROS in a world whose x is ahead and whose z is up."""

from __future__ import annotations

import cv2
import numpy as np

from mast3r_ros.core.rotations import rotation_of
from mast3r_ros.wire.pose_fields import (
    UNKNOWN_VARIANCE,
    in_ros_world,
    odometry_fields,
    path_fields,
    points_in_ros_world,
    pose_fields,
    tf_fields,
)


def placed(x=0.0, y=0.0, z=0.0, turn=(0.0, 0.0, 0.0)):
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(np.array(turn, float))[0], (x, y, z)
    return T


def matrix_of(pose):
    """Return the pose of a message's fields as 4x4."""
    T = np.eye(4)
    T[:3, :3] = rotation_of([pose['orientation'][axis] for axis in 'xyzw'])
    T[:3, 3] = [pose['position'][axis] for axis in 'xyz']
    return T


def test_ahead_of_the_first_camera_is_x_and_up_is_z():
    ahead, up = in_ros_world(placed(z=2.0)), in_ros_world(placed(y=-3.0))
    np.testing.assert_allclose(ahead[:3, 3], (2.0, 0.0, 0.0))
    np.testing.assert_allclose(up[:3, 3], (0.0, 0.0, 3.0))


def test_a_camera_keeps_its_optical_axes():
    T = in_ros_world(placed())
    np.testing.assert_allclose(T[:3, 2], (1.0, 0.0, 0.0))  # its z looks ahead
    np.testing.assert_allclose(T[:3, 1], (0.0, 0.0, -1.0))  # its y points down


def test_points_and_poses_turn_alike():
    T, point = placed(1.0, 2.0, 3.0, turn=(0.2, -0.5, 0.1)), np.array([0.3, -0.2, 4.0, 1.0])
    moved = points_in_ros_world((T @ point)[None, :3].astype(np.float32))
    np.testing.assert_allclose(moved[0], (in_ros_world(T) @ point)[:3], rtol=1e-6)


def test_a_pose_s_fields_give_the_pose_back():
    T = placed(1.0, -2.0, 3.0, turn=(0.4, 1.5, -2.0))
    np.testing.assert_allclose(matrix_of(pose_fields(T)), T, atol=1e-12)


def test_a_transform_says_what_the_pose_says():
    T = placed(1.0, -2.0, 3.0, turn=(0.4, 0.5, -0.2))
    (stamped,) = tf_fields(5, 'map', 'eye', T)['transforms']
    moved, pose = stamped['transform'], pose_fields(T)
    assert (stamped['header']['frame_id'], stamped['child_frame_id']) == ('map', 'eye')
    assert dict(moved['translation'].values) == dict(pose['position'].values)
    assert dict(moved['rotation'].values) == dict(pose['orientation'].values)


def test_an_odometry_s_covariance_is_of_the_turned_world():
    covariance = np.diag([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])  # right, down, ahead
    fields = odometry_fields(0, 'map', 'eye', np.eye(4), covariance)
    found = fields['pose']['covariance'].reshape(6, 6)
    np.testing.assert_allclose(found, np.diag([3.0, 1.0, 2.0, 6.0, 4.0, 5.0]), atol=1e-12)


def test_what_is_not_known_has_a_huge_variance():
    fields = odometry_fields(0, 'map', 'eye', np.eye(4), None)
    for part in ('pose', 'twist'):
        assert (np.diag(fields[part]['covariance'].reshape(6, 6)) == UNKNOWN_VARIANCE).all()


def test_a_path_keeps_the_stamp_of_each_pose():
    poses = [(3 * 10**9 + 7, placed(1.0)), (4 * 10**9, placed(2.0))]
    path = path_fields(9 * 10**9, 'map', poses)
    assert path['header']['stamp']['sec'] == 9
    stamps = [
        (item['header']['stamp']['sec'], item['header']['stamp']['nanosec'])
        for item in path['poses']
    ]
    assert stamps == [(3, 7), (4, 0)]
    assert [item['pose']['position']['x'] for item in path['poses']] == [1.0, 2.0]
