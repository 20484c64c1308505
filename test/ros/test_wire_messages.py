# SPDX-License-Identifier: Apache-2.0
"""Packed fields as real messages: valid, alike in rclpy and rosbags, unharmed over DDS."""

from __future__ import annotations

import array
import os
import time
from pathlib import Path

import numpy as np
import pytest

os.environ['ROS_PYTHON_CHECK_FIELDS'] = '1'  # check every assignment, as Humble does
rclpy = pytest.importorskip('rclpy', reason='needs ROS 2')

from rclpy.serialization import deserialize_message  # noqa: E402
from rosbags.typesys import Stores, get_types_from_msg, get_typestore  # noqa: E402
from sensor_msgs.msg import PointCloud2  # noqa: E402
from support import raw_images  # noqa: E402
from support.ros_messages import class_of  # noqa: E402

from mast3r_ros.core.cameras import Camera  # noqa: E402
from mast3r_ros.core.pairing import ViewPair  # noqa: E402
from mast3r_ros.core.products import Matches, PairResult  # noqa: E402
from mast3r_ros.core.results import EngineInfo, ScaleSource  # noqa: E402
from mast3r_ros.core.scale import Scale  # noqa: E402
from mast3r_ros.core.views import View  # noqa: E402
from mast3r_ros.wire.camera_info import camera_info_fields  # noqa: E402
from mast3r_ros.wire.cloud_packing import CloudPacker  # noqa: E402
from mast3r_ros.wire.image_decoding import decode_image  # noqa: E402
from mast3r_ros.wire.image_encoding import ImageEncoder  # noqa: E402
from mast3r_ros.wire.match_fields import match_fields  # noqa: E402
from mast3r_ros.wire.message_fields import (  # noqa: E402
    fill,
    make_by_attributes,
    make_by_constructor,
)
from mast3r_ros.wire.stamps import header_fields, stamp_ns  # noqa: E402
from mast3r_ros.wire.stats_fields import Publication, stats_fields  # noqa: E402

MESSAGES = Path(__file__).resolve().parents[2] / 'msg'
HEADER = header_fields(1_700_000_000_123_456_789, 'left_optical')
WIDTH, HEIGHT = 64, 48
DEADLINE_S = 20.0


def cloud_arrays(seed, width=WIDTH, height=HEIGHT):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(height, width, 3)).astype(np.float32)
    points[rng.random((height, width)) < 0.3] = np.nan
    image = raw_images.random_image(rng, width, height)
    return points, image, rng.random((height, width), dtype=np.float32)


def result():
    rng = np.random.default_rng(0)
    uv_1, uv_2 = rng.uniform(0, 640, (2, 300, 2)).astype(np.float32)
    points = rng.normal(size=(300, 3)).astype(np.float32)
    points[:5] = np.nan
    view = View(np.zeros((480, 640, 3), np.uint8), stamp_ns=17)
    return PairResult(
        pair=ViewPair(view, view),
        cloud_1=None,
        cloud_2=None,
        matches=Matches(uv_1, uv_2, rng.random(300, np.float32), 'desc_conf', points),
        scale=Scale(1.0, ScaleSource.NONE),
        T_2_1=None,
        engine=EngineInfo('oracle', 'processor', 'fp32', {}),
        notes=(),
        timing_ms={'match': 3.0},
    )


def everything():
    """One message of every type that is packed."""
    points, image, confidence = cloud_arrays(0)
    publication = Publication('oracle', 'processor', 1.0, 2.0, {'late': 2**40})
    camera = Camera.pinhole(WIDTH, HEIGHT, 50.0, 50.0, 31.5, 23.5, (-0.2, 0.1, 0.0, 0.0, 0.0))
    return {
        'depth': ImageEncoder().float_map(HEADER, points[..., 2]),
        'picture': ImageEncoder().rgb(HEADER, image),
        'mask': ImageEncoder().mask(HEADER, confidence > 0.5),
        'cloud': CloudPacker().pack_arrays(HEADER, points, image, confidence),
        'camera info': camera_info_fields(HEADER, camera),
        'matches': match_fields(result(), 'left_optical', 'right_optical'),
        'stats': stats_fields(result(), 'left_optical', publication),
    }


EVERYTHING = everything()


@pytest.fixture(scope='module')
def typestore():
    store = get_typestore(Stores.ROS2_JAZZY)
    for path in MESSAGES.glob('*.msg'):
        store.register(get_types_from_msg(path.read_text(), f'mast3r_ros/msg/{path.stem}'))
    return store


@pytest.fixture
def node():
    rclpy.init()
    node = rclpy.create_node('wire_test')
    yield node
    node.destroy_node()
    rclpy.shutdown()


def content(value):
    """A message's values with every bit of its floats, so that NaN equals NaN."""
    if hasattr(value, 'get_fields_and_field_types'):
        names = value.get_fields_and_field_types()
        return {name: content(getattr(value, name)) for name in names}
    if isinstance(value, (array.array, np.ndarray)):
        return np.asarray(value).tobytes()
    return [content(item) for item in value] if isinstance(value, list) else repr(value)


@pytest.mark.parametrize('name', EVERYTHING)
def test_every_message_passes_the_checks_of_rclpy(name):
    fields = EVERYTHING[name]
    message = make_by_attributes(fields, class_of)
    assert set(fields.values) == set(message.get_fields_and_field_types())
    stamp = fields['header']['stamp']
    assert stamp_ns(message.header.stamp) == stamp['sec'] * 10**9 + stamp['nanosec']


@pytest.mark.parametrize('name', EVERYTHING)
def test_bag_and_network_get_the_same_message(name, typestore):
    fields = EVERYTHING[name]
    of_rclpy = make_by_attributes(fields, class_of)
    of_rosbags = make_by_constructor(fields, lambda type_name: typestore.types[type_name])
    from_bag = bytes(typestore.serialize_cdr(of_rosbags, fields.type_name))
    read = deserialize_message(from_bag, class_of(fields.type_name))
    assert content(read) == content(of_rclpy)


def test_large_arrays_are_handed_to_rclpy_without_a_copy():
    for name in ('depth', 'picture', 'cloud'):
        fields = EVERYTHING[name]
        assert fill(class_of(fields.type_name)(), fields, class_of).data is fields['data']
    matches = make_by_attributes(EVERYTHING['matches'], class_of)
    assert matches.u_1 is EVERYTHING['matches']['u_1']


def test_camera_reads_back_from_a_real_message():
    message = make_by_attributes(EVERYTHING['camera info'], class_of)
    camera = Camera.from_info(message)
    assert (camera.width, camera.height, camera.fx) == (WIDTH, HEIGHT, 50.0)
    assert camera.distortion == (-0.2, 0.1, 0.0, 0.0, 0.0)


def test_picture_reads_back_from_a_real_message_without_a_copy():
    message = make_by_attributes(EVERYTHING['picture'], class_of)
    decoded = decode_image(message)
    np.testing.assert_array_equal(decoded, cloud_arrays(0)[1])
    assert np.shares_memory(decoded, np.frombuffer(message.data, np.uint8))


def test_memory_may_be_released_as_soon_as_publish_returns(node):
    """The next cloud is written over the last one at once; what was sent must not change."""
    count = 20
    received = []
    node.create_subscription(PointCloud2, 'cloud', received.append, count)
    publisher = node.create_publisher(PointCloud2, 'cloud', count)
    wait_for(node, lambda: publisher.get_subscription_count() == 1)
    packer, sent = CloudPacker(), []
    for seed in range(count):
        fields = packer.pack_arrays(HEADER, *cloud_arrays(seed, 512, 384))
        sent.append(bytes(fields['data']))
        publisher.publish(make_by_attributes(fields, class_of))
        packer.release(fields)
    reused = packer.pack_arrays(HEADER, *cloud_arrays(99, 512, 384))
    assert bytes(reused['data']) != sent[-1]
    wait_for(node, lambda: len(received) == count)
    assert [bytes(cloud.data) for cloud in received] == sent


def wait_for(node, is_so):
    deadline = time.monotonic() + DEADLINE_S
    while not is_so() and time.monotonic() < deadline:
        rclpy.spin_once(node, timeout_sec=0.05)
    assert is_so(), f'did not come about within {DEADLINE_S} s'
