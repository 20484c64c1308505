# SPDX-License-Identifier: Apache-2.0
"""The C++ headers made from our messages: a C++ program reads what the node published."""

from __future__ import annotations

import json
import math
import subprocess
from itertools import accumulate
from pathlib import Path

import pytest
from cmake_project import build, needs_packages
from drone_flight import flight
from rclpy.qos import QoSProfile
from ros_world import GEOMETRIC, Heard, until

from mast3r_ros.msg import MatchArray

READER = Path(__file__).resolve().parents[1] / 'support' / 'match_reader'
ARRAYS = ('u_1', 'v_1', 'u_2', 'v_2', 'confidence', 'x', 'y', 'z')
STAMP_NS = 12 * 10**9 + 345


@pytest.fixture(scope='module')
def reader(tmp_path_factory):
    """The program that reads a serialised MatchArray."""
    folder = tmp_path_factory.mktemp('cpp')
    needs_packages('mast3r_ros', 'rmw', 'rmw_implementation', folder=folder)
    return build(READER, folder / 'build') / 'match_reader'


def published_matches(world):
    """Return one message of matches twice: read by rclpy, and as the bytes that travelled."""
    world.start(GEOMETRIC)
    heard, _ = world.listen('matches', 'points')
    raw = Heard()
    world.node.create_subscription(
        MatchArray, '/mast3r/matches', raw.append, QoSProfile(depth=10), raw=True
    )
    until(lambda: world.node.count_subscribers('/mast3r/matches') == 2, 'both subscriptions')
    cameras, (shot,) = world.stereo(), flight(1)
    for camera, calibration in zip(cameras, shot.cameras, strict=True):
        camera.calibrate(calibration)
    world.ready(*cameras)
    world.show(cameras, (shot.left, shot.right), STAMP_NS)
    return heard.of_stamp(STAMP_NS), raw.wait()


def test_a_cpp_program_reads_the_matches_that_the_node_published(world, reader, tmp_path):
    message, data = published_matches(world)
    (tmp_path / 'matches').write_bytes(data)
    said = subprocess.run(
        [reader, tmp_path / 'matches'], capture_output=True, text=True, check=True
    )
    found = json.loads(said.stdout)

    for name in ARRAYS:
        values = getattr(message, name)
        numbers = [value for value in values if math.isfinite(value)]
        assert len(numbers) > 500
        *_, total = accumulate(numbers)  # in the program's order and precision, so the same
        assert found.pop(name) == [len(values), len(numbers), total]
    assert found == {
        'header': ['optical', 12, 345],
        'header_2': ['optical', 12, 345],
        'sizes': [message.width_1, message.height_1, message.width_2, message.height_2],
        'confidence_kind': message.confidence_kind,
        'scale_source': 'stereo_baseline',
    }


def test_a_cpp_program_is_told_when_a_message_is_cut_short(reader, tmp_path):
    (tmp_path / 'matches').write_bytes(b'\x00\x01\x00\x00' + bytes(5))
    said = subprocess.run([reader, tmp_path / 'matches'], capture_output=True, text=True)
    assert said.returncode == 1
    assert 'holds no MatchArray' in said.stderr
