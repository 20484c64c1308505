# SPDX-License-Identifier: Apache-2.0
"""A camera's way is drawn whole, in bounded memory, and follows its keyframes."""

from __future__ import annotations

import numpy as np

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.views import Grid
from mast3r_ros.sequence.frames import TrackedFrame, TrackingState
from mast3r_ros.sequence.keyframe import Keyframe
from mast3r_ros.sequence.way import Way


def keyframe() -> Keyframe:
    image, nothing = np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.float32)
    camera = Camera.pinhole(4, 4, 4.0, 4.0, 1.5, 1.5)
    return Keyframe(0, None, camera, Grid(image), nothing, nothing, np.eye(4), np.ones(1))


def frame(number: int, of: Keyframe) -> TrackedFrame:
    T = np.eye(4)
    T[0, 3] = number
    return TrackedFrame(number, TrackingState.TRACKED, of, T)


def way_of(count: int, most: int = 16, of: Keyframe | None = None) -> Way:
    way, of = Way(most), of or keyframe()
    for number in range(count):
        way.add(frame(number, of))
    return way


def test_a_short_way_keeps_every_pose():
    poses = way_of(10).poses()
    assert [stamp for stamp, _ in poses] == list(range(10))
    assert [T[0, 3] for _, T in poses] == list(range(10))


def test_a_long_way_stays_bounded_and_reaches_from_the_first_to_the_newest():
    stamps = [stamp for stamp, _ in way_of(10_000).poses()]
    assert len(stamps) <= 17
    assert (stamps[0], stamps[-1]) == (0, 9999)


def test_what_is_left_of_a_long_way_is_evenly_spread():
    stamps = [stamp for stamp, _ in way_of(1000).poses()][:-1]
    assert len(set(np.diff(stamps))) == 1


def test_poses_move_with_their_keyframe():
    of = keyframe()
    way = way_of(3, of=of)
    of.T_world_camera[1, 3] = 5.0
    assert [T[1, 3] for _, T in way.poses()] == [5.0] * 3


def test_an_empty_way_has_no_pose():
    assert Way().poses() == []
