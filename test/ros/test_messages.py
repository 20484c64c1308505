# SPDX-License-Identifier: Apache-2.0
"""The generated messages: importable beside the modules, whole after a trip over DDS."""

from __future__ import annotations

import array
import time

import pytest

rclpy = pytest.importorskip('rclpy', reason='needs ROS 2')

import mast3r_ros  # noqa: E402
from mast3r_ros import core  # noqa: E402
from mast3r_ros.msg import MatchArray, PairStats  # noqa: E402

DEADLINE_S = 20.0


@pytest.fixture
def node():
    rclpy.init()
    node = rclpy.create_node('messages_test')
    yield node
    node.destroy_node()
    rclpy.shutdown()


def send_and_receive(node, message):
    received = []
    publisher = node.create_publisher(type(message), 'round_trip', 1)
    node.create_subscription(type(message), 'round_trip', received.append, 1)
    deadline = time.monotonic() + DEADLINE_S
    while not received and time.monotonic() < deadline:
        publisher.publish(message)
        rclpy.spin_once(node, timeout_sec=0.1)
    assert received, f'no {type(message).__name__} came back within {DEADLINE_S} s'
    return received[0]


def test_messages_and_modules_share_one_package():
    assert MatchArray.__module__.startswith('mast3r_ros.msg')
    assert core.__name__ == 'mast3r_ros.core'
    assert mast3r_ros.__version__


def test_matches_survive_the_trip(node):
    message = MatchArray(
        width_1=640,
        height_1=480,
        width_2=752,
        height_2=480,
        u_1=[0.0, 639.0],
        v_1=[0.0, 479.5],
        u_2=[1.5, 2.5],
        v_2=[3.0, 4.0],
        confidence=[0.5, 1.5],
        confidence_kind='desc_conf',
        scale_source='none',
    )
    message.header.frame_id = 'left_optical'
    message.header_2.frame_id = 'right_optical'
    message.header.stamp.nanosec = 17
    assert send_and_receive(node, message) == message


def test_stats_survive_the_trip(node):
    message = PairStats(
        engine='geometric',
        device='processor',
        wait_ms=0.5,
        match_ms=7.25,
        drop_reasons=['replaced by a newer pair', 'no partner'],
        drop_counts=[2**40, 3],
        matches=512,
        scale=0.375,  # float32 keeps these exactly
        scale_spread=0.015625,
        scale_source='stereo_baseline',
    )
    assert send_and_receive(node, message) == message


@pytest.mark.parametrize('name', ['u_1', 'v_1', 'u_2', 'v_2', 'confidence', 'x', 'y', 'z'])
def test_match_arrays_are_flat_buffers(name):
    """A million floats are copied as one buffer; a list of messages would take seconds."""
    value = getattr(MatchArray(), name)
    assert isinstance(value, array.array)
    assert value.typecode == 'f'
