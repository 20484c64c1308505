# SPDX-License-Identifier: Apache-2.0
"""Odometry from messages and by stamps: what is nearest, what is refused, and what a body's is."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from mast3r_ros.core.rotations import quaternion_of
from mast3r_ros.errors import ConfigError, InvalidInput
from mast3r_ros.sequence.odometry import RecentOdometry
from mast3r_ros.wire.odometry_decoding import decode_odometry, pose_of_numbers

MS = 10**6


def place(x: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x
    return T


def recent(*stamps_ms: int, most: int = 100) -> RecentOdometry:
    kept = RecentOdometry(most)
    for stamp in stamps_ms:
        kept.add(stamp * MS, place(stamp))
    return kept


def x_of(T: np.ndarray | None) -> float | None:
    return None if T is None else float(T[0, 3])


@pytest.mark.parametrize(
    ('stamp_ms', 'expected'),
    [(0, None), (95, 100), (104, 100), (106, 110), (120, 120), (131, None)],
)
def test_the_nearest_in_time_counts_within_the_tolerance(stamp_ms, expected):
    kept = recent(100, 120, 110)  # as they came
    assert x_of(kept.nearest(stamp_ms * MS, 10 * MS)) == expected


def test_of_one_stamp_the_latest_counts():
    kept = recent(100)
    kept.add(100 * MS, place(7.0))
    assert x_of(kept.nearest(100 * MS, 0)) == 7.0


def test_time_that_goes_back_begins_anew():
    kept = recent(10_000, 10_010)
    for stamp in (50, 60, 70):
        kept.add(stamp * MS, place(stamp))
    assert x_of(kept.nearest(10_000 * MS, MS)) is None
    assert x_of(kept.nearest(50 * MS, MS)) == 50


@pytest.mark.parametrize('odd_ms', [50, 90_000])
def test_one_odd_stamp_costs_nothing_but_itself(odd_ms):
    kept = recent(10_000, 10_010, odd_ms, 10_020, odd_ms, 10_030, odd_ms, 10_040)
    for stamp in (10_000, 10_010, 10_020, 10_030, 10_040):
        assert x_of(kept.nearest(stamp * MS, 0)) == stamp
    assert x_of(kept.nearest(odd_ms * MS, 0)) is None


def test_only_so_many_are_kept():
    kept = recent(*range(50), most=10)
    assert x_of(kept.nearest(39 * MS, 0)) is None
    assert x_of(kept.nearest(40 * MS, 0)) == 40


def message(place=(1.0, 2.0, 3.0), quaternion=(0.0, 0.0, 0.0, 1.0), sec=5):
    names = ('x', 'y', 'z', 'w')
    pose = SimpleNamespace(
        position=SimpleNamespace(**dict(zip(names, place, strict=False))),
        orientation=SimpleNamespace(**dict(zip(names, quaternion, strict=True))),
    )
    stamp = SimpleNamespace(sec=sec, nanosec=7)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp), pose=SimpleNamespace(pose=pose))


def test_a_message_without_a_stamp_is_refused_in_words():
    told = message()
    told.header.stamp.sec = told.header.stamp.nanosec = 0
    with pytest.raises(InvalidInput, match='the stamp is 0'):
        decode_odometry(told)


def test_a_message_becomes_a_stamp_and_a_pose():
    T = pose_of_numbers('', (1.0, 2.0, 3.0, 0.3, -0.2, 1.0))
    stamp_ns, found = decode_odometry(message(T[:3, 3], quaternion_of(T[:3, :3])))
    assert stamp_ns == 5 * 10**9 + 7
    np.testing.assert_allclose(found, T, atol=1e-12)


@pytest.mark.parametrize(
    ('wrong', 'words'),
    [
        ({'place': (0.0, np.nan, 0.0)}, 'the position is'),
        ({'place': (0.0, np.inf, 0.0)}, 'the position is'),
        ({'quaternion': (0.0, 0.0, 0.0, 0.0)}, 'length 0'),
        ({'quaternion': (0.0, 0.0, 0.0, 2.0)}, 'length 2'),
        ({'quaternion': (np.nan, 0.0, 0.0, 1.0)}, 'length nan'),
        ({'sec': -1}, 'sec'),
    ],
)
def test_a_message_that_is_no_pose_is_refused_in_words(wrong, words):
    with pytest.raises(InvalidInput, match=words):
        decode_odometry(message(**wrong))


def test_a_camera_that_looks_ahead_of_its_body_is_the_turn_that_ros_knows():
    T = pose_of_numbers('', (0.1, 0.0, 0.2, -np.pi / 2, 0.0, -np.pi / 2))
    np.testing.assert_allclose(T[:3, :3] @ (0.0, 0.0, 1.0), (1.0, 0.0, 0.0), atol=1e-12)
    np.testing.assert_allclose(T[:3, :3] @ (0.0, 1.0, 0.0), (0.0, 0.0, -1.0), atol=1e-12)
    np.testing.assert_allclose(T[:3, 3], (0.1, 0.0, 0.2))


def test_numbers_that_are_no_pose_are_refused_with_their_setting():
    with pytest.raises(ConfigError, match=r'a\.b is .*six finite numbers'):
        pose_of_numbers('a.b', (0.0, 0.0, np.inf, 0.0, 0.0, 0.0))
