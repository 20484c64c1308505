# SPDX-License-Identifier: Apache-2.0
"""The node's followed camera takes an odometry: its motion, or its poses as they are; what cannot
be used is said, and the pictures go on alone.
"""

from __future__ import annotations

import numpy as np
import pytest
from followed_drone import FOLLOWING, Drone, matrix_of, true_pose
from nav_msgs.msg import Odometry
from rclpy.qos import QoSProfile
from ros_world import until

from mast3r_ros.core.rotations import quaternion_of
from mast3r_ros.wire.odometry_decoding import pose_of_numbers

pytest.importorskip('scipy')

TOPIC = '/wheels/odometry'
BODY_TO_CAMERA = (0.2, -0.1, 0.3, -np.pi / 2, 0.0, -np.pi / 2)
T_BODY_CAMERA = pose_of_numbers('', BODY_TO_CAMERA)
ELSEWHERE = pose_of_numbers('', (30.0, -20.0, 2.0, 0.1, -0.2, 2.0))
LISTENING = {
    **FOLLOWING,
    'sequence.odometry_topic': TOPIC,
    'sequence.odometry_to_camera': list(BODY_TO_CAMERA),
}


def odometry(T, stamp_ns, child='body') -> Odometry:
    message = Odometry(child_frame_id=child)
    message.header.frame_id = 'odom'
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    at, turn = message.pose.pose.position, message.pose.pose.orientation
    at.x, at.y, at.z = (float(value) for value in T[:3, 3])
    turn.x, turn.y, turn.z, turn.w = (float(value) for value in quaternion_of(T[:3, :3]))
    return message


class Wheels:
    """Tells where a drone's body is, in a frame of its own."""

    def __init__(self, drone: Drone) -> None:
        self.drone = drone
        self._publisher = drone.world.node.create_publisher(Odometry, TOPIC, QoSProfile(depth=50))
        until(self._publisher.get_subscription_count, 'the node hears the odometry')

    @property
    def facts(self):
        return self.drone.following.odometry.facts()

    def camera_at(self, number):
        """Return where the camera is in the frame of the odometry."""
        shot, first = self.drone.shots[number], self.drone.shots[0]
        return ELSEWHERE @ np.linalg.inv(first.T_world_left) @ shot.T_world_left

    def tell(self, number, late_ns=0):
        """Tell where the body was at a shot."""
        T = self.camera_at(number) @ np.linalg.inv(T_BODY_CAMERA)
        self.send(odometry(T, 10**9 + self.drone.shots[number].stamp_ns + late_ns))

    def send(self, message):
        before = self.facts
        self._publisher.publish(message)
        until(
            lambda: self.facts.received + self.facts.invalid > before.received + before.invalid,
            'the odometry arrives',
        )


def followed(world, **settings):
    drone = Drone(world, 'odometry', settings={**LISTENING, **settings})
    return drone, Wheels(drone)


def test_poses_are_taken_as_they_are(world):
    drone, wheels = followed(world, **{'sequence.odometry_use': 'poses'})
    for number in range(3):
        wheels.tell(number, late_ns=10**7)
        (stamp_ns,) = drone.fly(number, number + 1)
        message = drone.heard['odometry'].of_stamp(stamp_ns)
        np.testing.assert_allclose(
            matrix_of(message.pose.pose), wheels.camera_at(number), atol=1e-6
        )
    world.told('sequence', 'given', f'poses are those of {TOPIC}')


def test_motion_bridges_a_frame_that_shows_nothing(world):
    drone, wheels = followed(world)
    for number in range(3):
        wheels.tell(number)
        drone.fly(number, number + 1)
    wheels.tell(3)
    before = drone.following.now.frames
    dark = np.zeros_like(drone.shots[3].left)
    stamp_ns = 10**9 + drone.shots[3].stamp_ns
    world.show(drone.cameras, (dark, dark), stamp_ns)
    until(lambda: drone.following.now.frames != before, 'the dark frame is followed')
    message = drone.heard['odometry'].of_stamp(stamp_ns)
    off = np.linalg.inv(true_pose(drone.shots[3], drone.shots[0])) @ matrix_of(message.pose.pose)
    assert np.linalg.norm(off[:3, 3]) < 0.02
    world.told('sequence', 'bridged')


def test_what_cannot_be_used_is_refused_in_words_and_the_pictures_go_on(world):
    drone, wheels = followed(world)
    nan, zero = odometry(np.eye(4), 10**9), odometry(np.eye(4), 10**9)
    nan.pose.pose.position.y = float('nan')
    zero.pose.pose.orientation.w = 0.0
    wheels.send(nan)
    wheels.send(zero)
    assert wheels.facts.invalid == 2
    assert drone.node.session.drops['odometry_invalid'] == 2
    drone.fly(stop=3)
    assert drone.following.now.state.value == 'tracked'
    wheels.send(zero)
    world.told('sequence', '1 messages cannot be used', 'length 0', 'by its pictures alone')


def test_silence_and_stamps_of_another_clock_are_said(world):
    drone, wheels = followed(world)
    drone.fly(stop=2)
    world.told('sequence', f'no odometry has come on {TOPIC} yet')
    wheels.tell(2, late_ns=10**12)
    drone.fly(2, 3)
    assert drone.following.now.state.value == 'tracked'
    assert wheels.facts.missed == 3
    for number in range(3, 8):
        wheels.tell(number, late_ns=10**12)
        drone.fly(number, number + 1)
    world.told('sequence', 'sequence.odometry_tolerance_s')


def test_the_odometry_of_another_body_is_not_taken_for_the_camera_s(world):
    drone, wheels = followed(world, **{'sequence.odometry_to_camera': [0.0] * 6})
    wheels.tell(0)
    drone.fly(stop=1)
    world.told('sequence', 'is of body and not of optical', 'odometry_to_camera')
    assert drone.following.odometry.nearest(10**9 + drone.shots[0].stamp_ns, 'optical') is None
    wheels.tell(1)
    assert wheels.facts.invalid == 1
    drone.fly(1, 2)
    assert drone.following.now.state.value == 'tracked'


def test_while_nobody_asks_where_the_camera_is_no_odometry_is_missed(world):
    drone, wheels = followed(world)
    wheels.tell(0)
    points = world.listen('points')
    world.leave(drone.heard['odometry'])
    until(lambda: not drone.following.needed, 'nobody wants the odometry')
    until(lambda: wheels.facts.silent_s is None, 'what came is forgotten')
    world.forget_reports()
    until(lambda: len(world.reports('sequence')) > 1, 'two reports')
    assert not any('odometry' in item.message for item in world.reports('sequence'))
    assert points is not None


def test_a_camera_that_is_somewhere_impossible_is_refused_at_the_start(world):
    world.start({**LISTENING, 'sequence.odometry_to_camera': [float('nan')] * 6})
    world.told('engine', 'sequence.odometry_to_camera', 'six finite numbers')


def test_a_name_that_is_no_topic_is_refused_with_its_setting(world):
    world.start({**LISTENING, 'sequence.odometry_topic': 'my odometry!'})
    world.told('engine', 'sequence.odometry_topic', 'my odometry!')


def test_without_a_topic_nothing_is_subscribed_to(world):
    drone = Drone(world, 'odometry')
    drone.fly(stop=1)
    assert drone.following.odometry is None
    assert not world.node.count_subscribers(TOPIC)
