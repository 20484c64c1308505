# SPDX-License-Identifier: Apache-2.0
"""Which topics are taken for the cameras of a bag, and what is said where none can be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_ros.bags.camera_topics import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    Asked,
    CameraTopics,
    choose_cameras,
    is_stereo_pair,
)
from mast3r_ros.bags.recorded import RecordedTopic
from mast3r_ros.config import NodeConfig
from mast3r_ros.errors import InvalidInput

STEREO = NodeConfig()
SEQUENCE = NodeConfig(pairing={'mode': 'sequence'})


def topics(*names, counts=None):
    """Topics whose types are told by their names."""
    return {
        name: RecordedTopic(name, type_of(name), (counts or {}).get(name, 10)) for name in names
    }


def type_of(name):
    if name.endswith('camera_info'):
        return CAMERA_INFO
    if name.endswith('/compressed'):
        return COMPRESSED_IMAGE
    return 'sensor_msgs/msg/Imu' if name.endswith('imu') else IMAGE


def images(found):
    return [camera.image for camera in found]


@pytest.mark.parametrize(
    ('left', 'right'),
    [
        ('/left/image', '/right/image'),
        ('/stereo/left/image_raw', '/stereo/right/image_raw'),
        ('/left_camera/image', '/right_camera/image'),
        ('/zed/leftcam/image_rect', '/zed/rightcam/image_rect'),
        ('/camera/infra1/image_rect_raw', '/camera/infra2/image_rect_raw'),
        ('/cam0/image_raw', '/cam1/image_raw'),
        ('/rig/l/image', '/rig/r/image'),
    ],
)
def test_usual_names_of_stereo_cameras_are_known(left, right):
    assert is_stereo_pair(left, right)
    assert not is_stereo_pair(right, left)
    assert images(choose_cameras(topics(left, '/imu', right), STEREO, {})) == [left, right]


@pytest.mark.parametrize(
    ('one', 'other'),
    [
        ('/left/image', '/left/image'),
        ('/left/image_raw', '/right/image_rect'),
        ('/front/image', '/rear/image'),
        ('/cam1/image', '/cam3/image'),
        ('/left/image', '/stereo/right/image'),
    ],
)
def test_other_names_are_no_stereo_pair(one, other):
    assert not is_stereo_pair(one, other)


@given(st.text('/_lr01eftigh', max_size=12), st.text('/_lr01eftigh', max_size=12))
def test_no_two_topics_are_a_pair_both_ways(one, other):
    assert not (is_stereo_pair(one, other) and is_stereo_pair(other, one))


def test_calibration_and_mask_are_looked_for_beside_the_image():
    found = choose_cameras(
        topics('/a/left/image', '/a/right/image', '/a/left/camera_info', '/a/left/mask'),
        STEREO,
        {},
    )
    assert found == (
        CameraTopics('left', '/a/left/image', IMAGE, '/a/left/camera_info', '/a/left/mask'),
        CameraTopics('right', '/a/right/image', IMAGE, None, None),
    )


def test_calibration_of_compressed_images_lies_beside_the_plain_ones():
    found = choose_cameras(topics('/cam/image_raw/compressed', '/cam/camera_info'), SEQUENCE, {})
    assert found[0].info == '/cam/camera_info'
    assert found[0].type_name == COMPRESSED_IMAGE


def test_a_calibrated_camera_comes_before_others():
    found = choose_cameras(
        topics(
            '/a/left/image',
            '/a/right/image',
            '/bb/left/image',
            '/bb/right/image',
            '/bb/left/camera_info',
            '/bb/right/camera_info',
        ),
        STEREO,
        {},
    )
    assert images(found) == ['/bb/left/image', '/bb/right/image']


def test_rectified_images_come_before_raw_ones():
    names = [
        f'/{side}/{kind}' for side in ('left', 'right') for kind in ('image_raw', 'image_rect')
    ]
    found = choose_cameras(topics(*names), STEREO, {})
    assert images(found) == ['/left/image_rect', '/right/image_rect']


@pytest.mark.parametrize('transport', ['raw', 'compressed'])
def test_the_settings_decide_between_raw_and_compressed(transport):
    names = ['/left/image', '/right/image', '/left/image/compressed', '/right/image/compressed']
    config = NodeConfig(input={'image_transport': transport})
    found = choose_cameras(topics(*names), config, {})
    assert all(
        image.endswith('/compressed') == (transport == 'compressed') for image in images(found)
    )


def test_compressed_images_are_taken_where_there_are_no_others():
    found = choose_cameras(topics('/cam/image/compressed'), SEQUENCE, {})
    assert images(found) == ['/cam/image/compressed']


def test_masks_and_depth_are_no_cameras():
    names = ['/cam/depth/image', '/cam/mask', '/cam/disparity', '/cam/color/image_raw']
    assert images(choose_cameras(topics(*names), SEQUENCE, {})) == ['/cam/color/image_raw']


def test_a_topic_without_messages_is_not_guessed():
    names = ['/a/image', '/bbb/image']
    found = choose_cameras(topics(*names, counts={'/a/image': 0}), SEQUENCE, {})
    assert images(found) == ['/bbb/image']


def test_what_was_asked_for_is_taken():
    asked = {
        'left': Asked('x/one', info='/calibration/camera_info', mask=''),
        'right': Asked('/x/two'),
    }
    names = ['/x/one', '/x/two', '/x/mask', '/calibration/camera_info', '/left/i', '/right/i']
    found = choose_cameras(topics(*names), STEREO, asked)
    assert found == (
        CameraTopics('left', '/x/one', IMAGE, '/calibration/camera_info', None),
        CameraTopics('right', '/x/two', IMAGE, None, '/x/mask'),
    )


def test_the_other_side_of_a_named_one_is_found():
    names = ['/a/left/image', '/a/right/image', '/b/left/image', '/b/right/image']
    found = choose_cameras(topics(*names), STEREO, {'right': Asked('/b/right/image')})
    assert images(found) == ['/b/left/image', '/b/right/image']


@pytest.mark.parametrize(
    ('names', 'config', 'asked', 'words'),
    [
        ((), STEREO, {}, 'the topics are none'),
        (('/imu',), STEREO, {}, 'no topic of images; the topics are /imu'),
        (('/cam/image',), STEREO, {}, '--mode sequence'),
        (('/a', '/b'), STEREO, {'left': Asked('/a')}, '--left and --right'),
        (('/a', '/b'), SEQUENCE, {'image': Asked('/c')}, 'there are /a, /b'),
        (('/imu', '/b'), SEQUENCE, {'image': Asked('/imu')}, 'carries sensor_msgs/msg/Imu'),
        (('/b',), SEQUENCE, {'image': Asked('/b', info='/b')}, 'allowed is .*CameraInfo'),
        (('/b',), SEQUENCE, {'image': Asked('/b', mask='/m')}, 'there is no topic /m'),
        (('/b',), SEQUENCE, {'left': Asked('/b')}, 'left is no camera of the mode sequence'),
    ],
)
def test_what_cannot_be_had_is_said(names, config, asked, words):
    with pytest.raises(InvalidInput, match=words):
        choose_cameras(topics(*names), config, asked)


def test_a_named_topic_without_messages_is_said():
    with pytest.raises(InvalidInput, match='/a holds no message'):
        choose_cameras(topics('/a', counts={'/a': 0}), SEQUENCE, {'image': Asked('/a')})
