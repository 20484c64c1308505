# SPDX-License-Identifier: Apache-2.0
"""Images are asked for as reliably as their publishers offer, whoever comes, goes or restarts."""

from __future__ import annotations

import pytest
from raw_images import smooth_image
from rclpy.qos import ReliabilityPolicy
from ros_engines import ScriptedEngine
from ros_world import persist, until
from sensor_msgs.msg import Image

from mast3r_ros.ros.subscriptions import Subscriptions

IMAGE = smooth_image(96, 64)
S = 10**9
TOPIC = 'left/image'


class Followed:
    """Subscriptions that follow one topic; the test says when they look."""

    def __init__(self, world):
        self.world = world
        self.heard = []
        self.subscriptions = Subscriptions(world.node)
        self.subscriptions.follow(Image, TOPIC, self.heard.append)

    def camera(self, reliable):
        """Return a camera that is known here."""
        known = self.world.node.count_publishers(TOPIC)
        camera = self.world.camera(TOPIC, reliable=reliable)
        until(lambda: self.world.node.count_publishers(TOPIC) > known, 'the camera is known')
        return camera

    def hear(self, camera):
        before = len(self.heard)
        until(camera.is_heard, 'the camera is heard')
        persist(lambda: camera.show(IMAGE, S), lambda: len(self.heard) > before, 'an image')

    def is_reliable(self):
        (info,) = self.world.node.get_subscriptions_info_by_topic(TOPIC)
        return info.qos_profile.reliability is ReliabilityPolicy.RELIABLE

    def becomes(self, reliable):
        """Wait until the graph shows the one subscription as it is to be."""
        node = self.world.node
        until(lambda: len(node.get_subscriptions_info_by_topic(TOPIC)) == 1, 'one subscription')
        until(lambda: self.is_reliable() is reliable, f'its reliability is {reliable}')


@pytest.fixture
def followed(world):
    made = Followed(world)
    yield made
    made.subscriptions.close()


def test_a_first_guess_is_set_right_even_where_images_came_already(followed):
    """The camera comes after the subscription and sends before anybody looks."""
    followed.hear(followed.camera(reliable=True))
    assert not followed.is_reliable()
    followed.subscriptions.look()
    followed.becomes(reliable=True)


@pytest.mark.parametrize('reliable', [True, False])
def test_a_camera_that_restarts_otherwise_is_heard_again(followed, reliable):
    camera = followed.camera(reliable)
    followed.subscriptions.look()
    followed.becomes(reliable)
    followed.hear(camera)
    camera.close()
    until(lambda: not followed.world.node.count_publishers(TOPIC), 'the camera is gone')
    followed.subscriptions.look()
    again = followed.camera(not reliable)
    followed.subscriptions.look()
    followed.becomes(not reliable)
    followed.hear(again)
    assert not followed.subscriptions.incompatible


def test_what_flows_is_left_alone_until_it_falls_silent(followed):
    camera = followed.camera(reliable=True)
    followed.subscriptions.look()
    followed.becomes(reliable=True)
    followed.camera(reliable=False)
    (before,) = followed.subscriptions._open
    for _ in range(3):
        followed.hear(camera)
        followed.subscriptions.look()
        assert followed.subscriptions._open == [before]
    followed.subscriptions.look()
    followed.becomes(reliable=False)


def test_a_node_answers_on_when_its_cameras_restart_best_effort(world):
    cameras = world.stereo(reliable=True)
    node = world.start(engine=ScriptedEngine())
    until(lambda: node.session and node.count_publishers('right/image'), 'the cameras are known')
    stats = world.listen('stats')
    world.ready(*cameras)
    world.show(cameras, IMAGE, 1 * S)
    stats.of_stamp(1 * S)
    for camera in cameras:
        camera.close()
    until(lambda: not node.count_publishers('right/image'), 'the cameras are gone')
    cameras = world.stereo(reliable=False)
    world.ready(*cameras)
    world.show(cameras, IMAGE, 2 * S)
    stats.of_stamp(2 * S)
