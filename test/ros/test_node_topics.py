# SPDX-License-Identifier: Apache-2.0
"""Where the node's topics lie: beside each other, below its name, wherever they are remapped."""

from __future__ import annotations

import numpy as np
import pytest
from raw_images import smooth_image
from ros_cameras import camera_info
from ros_engines import ScriptedEngine
from ros_world import TYPES, until

from mast3r_ros.core.cameras import Camera

IMAGE = smooth_image(96, 64)
S = 10**9

REMAPPED = {
    'as it is': ([], ('/left/image', '/left/camera_info', '/left/mask')),
    'in a namespace': (
        ['__ns:=/arm'],
        ('/arm/left/image', '/arm/left/camera_info', '/arm/left/mask'),
    ),
    'the image elsewhere': (
        ['left/image:=/rig/cam0/image_raw'],
        ('/rig/cam0/image_raw', '/rig/cam0/camera_info', '/rig/cam0/mask'),
    ),
    'each elsewhere': (
        ['left/image:=/a/b', 'left/camera_info:=/c/d', 'left/mask:=/e/f'],
        ('/a/b', '/c/d', '/e/f'),
    ),
    'the calibration elsewhere': (
        ['left/camera_info:=/calibration'],
        ('/left/image', '/calibration', '/left/mask'),
    ),
}


def start(world, rules, settings=None):
    """Return a configured node with these rules for remapping."""
    arguments = ['--ros-args', *(word for rule in rules for word in ('-r', rule))]
    node = world.start(settings, engine=ScriptedEngine(), cli_args=arguments)
    until(lambda: node.session, 'the node is configured')
    return node


@pytest.mark.parametrize('how', REMAPPED)
def test_calibration_and_mask_lie_beside_the_image_unless_remapped_themselves(world, how):
    rules, expected = REMAPPED[how]
    left = start(world, rules).session.inputs[0]
    assert (left.image_topic, left.calibration.topic, left.mask_topic) == expected


def test_compressed_images_come_under_the_topic_and_their_calibration_beside_it(world):
    rules = ['left/image:=/rig/cam0/image_raw']
    node = start(world, rules, {'input.image_transport': 'compressed'})
    left, right = node.session.inputs
    assert left.image_topic == '/rig/cam0/image_raw/compressed'
    assert left.calibration.topic == '/rig/cam0/camera_info'
    assert right.image_topic == '/right/image/compressed'


def test_a_sequence_takes_calibration_and_mask_beside_its_one_image(world):
    settings = {'pairing.mode': 'sequence'}
    (camera,) = start(world, [], settings).session.inputs
    assert camera.image_topic == '/image'
    assert (camera.calibration.topic, camera.mask_topic) == ('/camera_info', '/mask')


def test_outputs_lie_below_the_nodes_own_name(world):
    node = start(world, ['__ns:=/arm', '__node:=eye'])
    topics = dict(node.get_publisher_names_and_types_by_node('eye', '/arm'))
    for name, type_name in TYPES.items():
        assert topics[f'/arm/eye/{name}'] == [type_name]
    assert '/diagnostics' in topics


@pytest.mark.parametrize(
    ('image_topic', 'setting', 'rectified'),
    [
        ('/cam/image_rect', 'auto', True),
        ('/cam/image_raw', 'auto', False),
        ('/cam/image_raw', 'true', True),
        ('/cam/image_rect', 'false', False),
    ],
)
def test_what_counts_as_rectified_takes_p_and_no_distortion(
    world, image_topic, setting, rectified
):
    node = start(world, [f'left/image:={image_topic}'], {'input.rectified': setting})
    world.listen('stats')
    lens = (-0.1, 0.01, 0.0, 0.0, 0.0)
    K, P = np.diag([50.0, 50.0, 1.0]), np.eye(3, 4)
    P[:2, :2] *= 77.0
    left, right = world.camera(image_topic), world.camera('right/image')
    left.calibrate(Camera(96, 64, K, lens, R=np.eye(3), P=P))
    world.ready(left, right)
    camera = node.session.inputs[0].calibration.camera
    assert camera.fx == (77.0 if rectified else 50.0)
    assert camera.is_distorted == (not rectified)


def test_the_calibration_is_kept_as_the_same_object_while_nothing_changes_in_it(world):
    """What is computed from it once for all, as the rectification, is found again."""
    node = start(world, [])
    world.listen('stats')
    left, right = world.stereo()
    left.calibrate(Camera.pinhole(96, 64, 50.0, 50.0, 48.0, 32.0))
    world.ready(left, right)
    known = node.session.inputs[0].calibration.camera
    for stamp_s in range(1, 4):
        left.send_info(camera_info(known, stamp_s * S))
    other = Camera.pinhole(96, 64, 51.0, 50.0, 48.0, 32.0)
    assert node.session.inputs[0].calibration.camera is known
    left.calibrate(other)

    def is_new():
        left.send_info(left.info)
        return node.session.inputs[0].calibration.camera.fx == 51.0

    until(is_new, 'the changed calibration is taken over')
