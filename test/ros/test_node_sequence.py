# SPDX-License-Identifier: Apache-2.0
"""The node follows its camera: where it is, its way, its map, and when it is lost."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest
from followed_drone import FOLLOWING, Drone, matrix_of, true_pose
from rclpy.qos import DurabilityPolicy
from ros_world import GEOMETRIC, stamp_of, until
from std_srvs.srv import Trigger

from mast3r_ros.wire.sequence_topics import SEQUENCE_TOPICS

pytest.importorskip('scipy')


def test_odometry_tells_where_the_camera_is_in_the_axes_of_ros(world):
    drone = Drone(world, 'odometry')
    stamps = drone.fly()
    for shot, stamp_ns in zip(drone.shots, stamps, strict=True):
        message = drone.heard['odometry'].of_stamp(stamp_ns)
        assert (message.header.frame_id, message.child_frame_id) == ('map', 'optical')
        off = np.linalg.inv(true_pose(shot, drone.shots[0])) @ matrix_of(message.pose.pose)
        assert np.linalg.norm(off[:3, 3]) < 0.02
        assert np.arccos(np.clip((np.trace(off[:3, :3]) - 1.0) / 2.0, -1.0, 1.0)) < 0.01


def test_odometry_says_how_sure_it_is(world):
    drone = Drone(world, 'odometry')
    last = drone.heard['odometry'].of_stamp(drone.fly(stop=4)[-1])
    covariance = last.pose.covariance.reshape(6, 6)
    np.testing.assert_allclose(covariance, covariance.T, atol=1e-12)
    assert 0.0 < np.trace(covariance[:3, :3]) < 0.01
    assert last.twist.covariance[0] > 1e3  # of the velocity it knows nothing


def test_path_and_keyframes_come_too(world):
    drone = Drone(world, 'path', 'keyframe')
    stamps = drone.fly()
    path = drone.heard['path'].wait()
    found = [stamp_of(pose) for pose in path.poses]
    assert found == stamps[: len(found)]
    assert stamp_of(drone.heard['keyframe'][0]) == stamps[0]


def test_the_map_lies_where_the_camera_sees_it_and_waits_for_those_who_come_late(world):
    drone = Drone(world, 'odometry', 'map')
    drone.fly()
    drone.heard['map'].wait()
    late = world.listen('map', durability=DurabilityPolicy.TRANSIENT_LOCAL).wait()
    assert late.header.frame_id == 'map'
    points = np.frombuffer(late.data, np.float32).reshape(-1, 5)[:, :3]
    assert len(points) > 1000
    ahead = points[np.isfinite(points).all(axis=1)] @ (1.0, 0.0, 0.0)
    assert np.median(ahead) > 0.5  # the first camera looks along x


def test_diagnostics_tell_how_it_goes(world):
    drone = Drone(world, 'odometry')
    drone.fly(stop=3)
    world.told('sequence', 'tracked', 'keyframes')
    assert world.value('sequence', 'scale_source') == 'stereo_baseline'


def test_a_lost_camera_is_said_and_found_again(world):
    drone = Drone(world, 'odometry')
    stamps = drone.fly(stop=3)
    before = drone.following.now.frames
    dark = np.zeros_like(drone.shots[0].left)
    world.show(drone.cameras, (dark, dark), stamps[-1] + 10**7)
    until(lambda: drone.following.now.frames != before, 'the dark frame is followed')
    world.told('sequence', 'lost', '~/reset')
    (found,) = drone.fly(3, 4)
    drone.heard['odometry'].of_stamp(found)
    world.told('sequence', 'keyframes')


def test_nobody_listens_so_nothing_is_followed(world):
    node = world.start(FOLLOWING)
    until(lambda: node.session is not None and node.session.active, 'the node is active')
    assert not node.session.listens
    odometry = world.listen('odometry')
    until(lambda: node.session.listens, 'it works for whoever listens')
    assert not node.session.outputs.needed
    world.leave(odometry)
    until(lambda: not node.session.listens, 'it rests again')


def test_odometry_alone_makes_no_clouds(world):
    drone = Drone(world, 'odometry')
    drone.fly(stop=3)
    assert drone.node.session.pipeline.answered == 0


def test_a_node_that_is_not_to_follow_has_none_of_the_topics(world):
    world.start(GEOMETRIC)
    until(lambda: world.node.count_publishers('/mast3r/points'), 'the node is there')
    assert not any(world.node.count_publishers(f'/mast3r/{topic}') for topic in SEQUENCE_TOPICS)


def test_a_reset_begins_a_new_world_at_the_next_frame(world):
    drone = Drone(world, 'odometry')
    drone.fly(stop=5)
    assert world.call(Trigger, '/mast3r/reset', Trigger.Request()).success
    (stamp_ns,) = drone.fly(5, 6)
    T = matrix_of(drone.heard['odometry'].of_stamp(stamp_ns).pose.pose)
    np.testing.assert_allclose(T[:3, 3], 0.0, atol=1e-9)


def test_a_bag_that_starts_over_begins_a_new_world(world):
    drone = Drone(world, 'odometry')
    drone.fly(stop=4, late_ns=10**10)
    (stamp_ns,) = drone.fly(0, 1)
    T = matrix_of(drone.heard['odometry'].of_stamp(stamp_ns).pose.pose)
    np.testing.assert_allclose(T[:3, 3], 0.0, atol=1e-9)


def test_where_tf_cannot_be_told_the_node_says_so(world):
    if find_spec('tf2_msgs') is not None:
        pytest.skip('needs a machine without tf2_msgs')
    world.start({**FOLLOWING, 'sequence.publish_tf': True})
    world.told('engine', 'sequence.publish_tf', 'tf2_msgs')


def test_tf_is_told_when_asked(world):
    messages = pytest.importorskip('tf2_msgs.msg')
    heard = []
    world.node.create_subscription(messages.TFMessage, '/tf', heard.append, 100)
    drone = Drone(world, settings={**FOLLOWING, 'sequence.publish_tf': True})
    drone.fly(stop=3)
    (transform,) = until(lambda: heard, 'a transform')[-1].transforms
    assert (transform.header.frame_id, transform.child_frame_id) == ('map', 'optical')
