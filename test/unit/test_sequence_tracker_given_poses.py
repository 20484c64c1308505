# SPDX-License-Identifier: Apache-2.0
"""Poses that are given hold whatever the pictures show, and give the map its unit."""

from __future__ import annotations

import numpy as np
import pytest
from support.scene import Scene, placed, small_camera

pytest.importorskip('scipy')

from support.followed_walk import SCENE, accuracy, bare, frame, sideways, states, tracker

from mast3r_ros.sequence.frames import TrackingState
from mast3r_ros.sequence_config import SequenceConfig


def test_given_poses_are_taken_and_make_the_map_metric() -> None:
    shots = sideways()[:8]
    config = SequenceConfig(still_px=0.0)
    with tracker(shots, config, scale=0.3) as (following, _):
        tracked = [
            following.track(frame(s, n, T_world_camera=np.linalg.inv(s.T_camera_world)))
            for n, s in enumerate(shots)
        ]
    assert states(tracked) == {TrackingState.GIVEN}
    assert accuracy(tracked, shots, with_scale=False).ate_m.max() < 1e-9
    assert np.nanmedian(tracked[-1].cloud.depth) == pytest.approx(
        np.nanmedian(shots[-1].depth), rel=0.1
    )


def test_no_loop_moves_poses_that_are_given_though_some_are_not() -> None:
    shots = [*sideways(10, 0.2), *sideways(10, 0.2)[::-1][1:]]
    given = [
        None
        if n % 4 == 2
        else np.linalg.inv(shot.T_camera_world) @ np.linalg.inv(placed(0.01 * n))
        for n, shot in enumerate(shots)
    ]
    with tracker(shots) as (following, _):
        tracked = [
            following.track(frame(shot, n, T_world_camera=pose))
            for n, (shot, pose) in enumerate(zip(shots, given, strict=True))
        ]
    assert {TrackingState.GIVEN, TrackingState.TRACKED} <= states(tracked)
    for item, pose in zip(tracked, given, strict=True):
        if pose is not None:
            np.testing.assert_allclose(item.T_world_camera, pose, atol=1e-9)


def test_no_loop_moves_poses_that_are_given() -> None:
    shots = [*sideways(10, 0.2), *sideways(10, 0.2)[::-1][1:]]
    given = [
        np.linalg.inv(shot.T_camera_world) @ np.linalg.inv(placed(0.01 * n))
        for n, shot in enumerate(shots)
    ]
    with tracker(shots) as (following, _):
        tracked = [
            following.track(frame(shot, n, T_world_camera=pose))
            for n, (shot, pose) in enumerate(zip(shots, given, strict=True))
        ]
    for item, pose in zip(tracked, given, strict=True):
        np.testing.assert_allclose(item.T_world_camera, pose, atol=1e-9)


def test_a_given_pose_holds_even_where_nothing_matches() -> None:
    elsewhere = Scene(5).look(small_camera(), placed(30.0, 9.0))
    shots = [*sideways()[:4], elsewhere, *sideways()[:3]]
    with tracker(shots) as (following, _):
        tracked = [
            following.track(frame(s, n, T_world_camera=np.linalg.inv(s.T_camera_world)))
            for n, s in enumerate(shots)
        ]
    assert states(tracked) == {TrackingState.GIVEN}
    assert tracked[4].reason
    assert accuracy(tracked, shots, with_scale=False).ate_m.max() < 1e-9


@pytest.mark.parametrize('metric', [False, True])
def test_poses_that_are_given_make_the_map_metric_without_calibration_too(metric: bool) -> None:
    shots = sideways()[:8]
    with tracker(shots, scale=0.3, metric=metric) as (following, _):
        tracked = [
            following.track(bare(s, n, T_world_camera=np.linalg.inv(s.T_camera_world)))
            for n, s in enumerate(shots)
        ]
    assert states(tracked) == {TrackingState.GIVEN}
    assert not any(item.reason for item in tracked)
    assert np.nanmedian(tracked[-1].cloud.depth) == pytest.approx(
        np.nanmedian(shots[-1].depth), rel=0.15
    )


@pytest.mark.parametrize('calibrated', [False, True])
def test_the_unit_of_given_poses_moves_no_frame_that_was_placed_before(calibrated: bool) -> None:
    steps = [SCENE.look(small_camera(), placed(0.004 * n)) for n in range(3)]
    shots, made = [*steps, *sideways()[2:6]], frame if calibrated else bare
    with tracker(shots, scale=0.3) as (following, _):
        tracked = [
            following.track(made(s, n, T_world_camera=np.linalg.inv(s.T_camera_world)))
            for n, s in enumerate(shots)
        ]
    assert all(item.cloud is None for item in tracked[:3])  # they tell no unit
    assert accuracy(tracked, shots, with_scale=False).ate_m.max() < 1e-9
    true = np.nanmedian(shots[-1].depth)
    assert np.nanmedian(tracked[-1].cloud.depth) == pytest.approx(true, rel=0.15)


@pytest.mark.parametrize('calibrated', [False, True])
def test_a_mere_turn_gives_no_unit_to_poses_that_are_given(calibrated: bool) -> None:
    turns = [SCENE.look(small_camera(), placed(1e-4 * n, 0.0, 0.0, 9.0 * n)) for n in range(4)]
    made = frame if calibrated else bare
    with tracker(turns, scale=0.3) as (following, _):
        tracked = [
            following.track(made(s, n, T_world_camera=np.linalg.inv(s.T_camera_world)))
            for n, s in enumerate(turns)
        ]
    assert states(tracked) == {TrackingState.GIVEN}
    assert all(item.cloud is None for item in tracked)
    assert not any(item.has_depth for item in following.keyframes)


def test_given_poses_in_the_dark_add_no_keyframes_and_those_of_a_new_place_do() -> None:
    dark = [Scene(5).look(small_camera(), placed(30.0 * n, 9.0 * n)) for n in (1, -1, 2, -2)]
    new = [SCENE.look(small_camera(), placed(8.0 + 0.1 * n)) for n in range(3)]
    shots = [*sideways()[:3], *dark, *new]
    with tracker(shots) as (following, _):
        tracked, counts = [], []
        for n, shot in enumerate(shots):
            pose = np.linalg.inv(shot.T_camera_world)
            tracked.append(following.track(frame(shot, n, T_world_camera=pose)))
            counts.append(len(following.keyframes))
    assert states(tracked) == {TrackingState.GIVEN}
    assert counts[2] == counts[7]  # the dark, and the first picture of the new place
    assert counts[8] > counts[7]
    assert all(item.reason for item in tracked[3:8])
    assert not any(item.reason for item in tracked[8:])
    assert accuracy(tracked, shots, with_scale=False).ate_m.max() < 1e-9
