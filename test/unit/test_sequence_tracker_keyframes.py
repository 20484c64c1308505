# SPDX-License-Identifier: Apache-2.0
"""Keyframes close loops, carry the frames placed by them, and are let go when there are many."""

from __future__ import annotations

import numpy as np
import pytest
from support.oracle_engine import ErrorModel

pytest.importorskip('scipy')

from support.followed_walk import accuracy, follow, frame, sideways, tracker

from mast3r_ros.sequence_config import SequenceConfig


def test_a_way_there_and_back_closes_a_loop_and_is_better_for_it() -> None:
    shots = [*sideways(10, 0.2), *sideways(10, 0.2)[::-1][1:]]
    poor = {'errors': ErrorModel(depth=0.06, match_px=1.2)}
    open_ended, first = follow(shots, SequenceConfig(still_px=0.0, loop_edges=0), **poor)
    closed, second = follow(shots, SequenceConfig(still_px=0.0, loop_edges=3), **poor)
    assert open_ended.keyframes.loops == 0
    assert closed.keyframes.loops > 0
    assert closed.keyframes.changes > 0
    rmse = [accuracy(t, shots).summary()['ate_m'].rmse for t in (first, second)]
    assert rmse[1] < rmse[0]


def test_frames_move_with_their_keyframe() -> None:
    _, tracked = follow(sideways()[:6])
    before = tracked[-1].T_world_camera
    keyframe = tracked[-1].keyframe
    shift = np.eye(4)
    shift[:3, 3] = 1.0, 2.0, 3.0
    keyframe.T_world_camera = shift @ keyframe.T_world_camera
    np.testing.assert_allclose(tracked[-1].T_world_camera, shift @ before)


def test_a_keyframe_of_another_unit_says_so_to_the_graph() -> None:
    shots = sideways()[:6]
    with tracker(shots) as (following, _):
        tracked = [following.track(frame(shot, n)) for n, shot in enumerate(shots)]
        old, last = following.keyframes.current, tracked[-1]
        old.scale = 2.0
        T = np.linalg.inv(shots[0].T_camera_world)
        added = following.keyframes.add_after(
            old, frame(shots[0], 0).view, T, last.cloud, last.scale_source
        )
    assert following.keyframes.edges[-1].scale_a_b == pytest.approx(added.scale / old.scale)
    expected = old.T_world_camera[:3, :3] @ (2.0 * T[:3, 3]) + old.T_world_camera[:3, 3]
    np.testing.assert_allclose(added.T_world_camera[:3, 3], expected)


def test_old_keyframes_are_let_go_and_their_poses_stay() -> None:
    config = SequenceConfig(still_px=0.0, keyframes_max=3, loop_edges=0)
    following, tracked = follow(sideways(14, 0.4), config)
    whole = [item.number for item in following.keyframes if item.view is not None]
    assert len(following.keyframes) > 4
    assert len(whole) <= 3
    assert whole[0] == 0
    assert accuracy(tracked, sideways(14, 0.4)).summary()['ate_m'].rmse < 0.1
