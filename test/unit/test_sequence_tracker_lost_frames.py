# SPDX-License-Identifier: Apache-2.0
"""A frame that cannot be placed is lost, found again or bridged, and costs no other frame."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from support.oracle_engine import OracleEngine
from support.scene import Scene, placed, small_camera

pytest.importorskip('scipy')

from support.followed_walk import (
    CONFIG,
    ERRORS,
    FOUND,
    accuracy,
    follow,
    frame,
    sideways,
    states,
    tracker,
)

from mast3r_ros.core.results import Output
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.errors import EngineFailed
from mast3r_ros.sequence import pair_motion
from mast3r_ros.sequence.answers import EngineAnswers
from mast3r_ros.sequence.frames import TrackingState
from mast3r_ros.sequence.tracker import Tracker
from mast3r_ros.sequence_config import SequenceConfig


def test_an_engine_that_gives_no_points_is_said_to_be_of_no_use() -> None:
    _, tracked = follow(sideways()[:3], provides=Output.WARP)
    assert tracked[1].state is TrackingState.LOST
    assert 'no points' in tracked[1].reason


def test_a_picture_of_elsewhere_is_lost_and_the_next_one_is_found_again() -> None:
    shots = list(sideways()[:8])
    elsewhere = Scene(5).look(small_camera(), placed(30.0, 9.0, 0.0, 0.0))
    shots.insert(4, elsewhere)
    _, tracked = follow(shots)
    assert tracked[4].state is TrackingState.LOST
    assert tracked[4].T_world_camera is None
    assert tracked[4].reason
    assert all(item.state in FOUND for item in tracked[5:])


def test_a_kidnapped_camera_is_found_where_it_was_before() -> None:
    walk = list(sideways(12, 0.8))
    shots = [*walk, walk[1], walk[2]]
    following, tracked = follow(shots, SequenceConfig(still_px=0.0, loop_edges=0))
    assert tracked[-2].state is TrackingState.RELOCALISED
    assert tracked[-1].state in FOUND
    assert tracked[-2].keyframe.number < len(following.keyframes) // 2
    assert accuracy(tracked, shots).ate_m[-2:].max() < 0.1


def test_without_candidates_a_kidnapped_camera_stays_lost() -> None:
    walk = list(sideways(12, 0.8))
    config = SequenceConfig(still_px=0.0, loop_edges=0, relocalise_candidates=0)
    _, tracked = follow([*walk, walk[1]], config)
    assert tracked[-1].state is TrackingState.LOST


@pytest.mark.parametrize('error', [cv2.error('degenerate'), np.linalg.LinAlgError('singular')])
def test_a_solver_that_raises_costs_a_frame_and_says_why(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(*_):
        raise error

    shots = sideways()[:6]
    with tracker(shots) as (following, _):
        early = [following.track(frame(shot, n)) for n, shot in enumerate(shots[:4])]
        with monkeypatch.context() as broken:
            broken.setattr(pair_motion, 'find_motion', fail)
            lost = following.track(frame(shots[4], 4))
        found = following.track(frame(shots[5], 5))
    assert TrackingState.LOST not in states(early)
    assert lost.state is TrackingState.LOST
    assert 'the solver failed' in lost.reason
    assert found.state in FOUND


def test_odometry_bridges_frames_that_show_nothing() -> None:
    blind = Scene(5).look(small_camera(), placed(30.0, 9.0))
    walk = list(sideways()[:8])
    shots = [*walk[:3], replace(blind, T_camera_world=walk[3].T_camera_world), *walk[4:]]
    elsewhere = np.linalg.inv(placed(100.0, 3.0, 7.0, 40.0))
    with tracker([*walk, blind], metric=True) as (following, _):
        tracked = [
            following.track(
                frame(s, n, T_odometry_camera=elsewhere @ np.linalg.inv(s.T_camera_world))
            )
            for n, s in enumerate(shots)
        ]
    assert tracked[3].state is TrackingState.BRIDGED
    assert tracked[3].reason
    assert all(item.state in FOUND for item in (*tracked[:3], *tracked[4:]))
    assert accuracy(tracked, shots).ate_m.max() < 0.05


def test_odometry_in_metres_is_no_bridge_where_the_unit_is_not_known() -> None:
    blind = Scene(5).look(small_camera(), placed(30.0, 9.0))
    shots = [*sideways()[:3], blind]
    with tracker(shots) as (following, _):
        tracked = [
            following.track(frame(s, n, T_odometry_camera=np.linalg.inv(s.T_camera_world)))
            for n, s in enumerate(shots)
        ]
    assert tracked[3].state is TrackingState.LOST


def test_an_engine_that_fails_once_costs_one_frame() -> None:
    class Failing(OracleEngine):
        """Breaks at its fourth pair."""

        def decode(self, pairs, outputs):
            if len(self.asked) == 3:
                self.asked.append(outputs)
                raise EngineFailed('it broke')
            return super().decode(pairs, outputs)

    engine = Failing(CONFIG.model, errors=ERRORS).register_shots(sideways())
    with EngineWorker(lambda: engine) as worker:
        worker.wait_ready()
        following = Tracker(EngineAnswers(worker, CONFIG), SequenceConfig(still_px=0.0))
        failed = []
        for n, shot in enumerate(sideways()[:8]):
            try:
                assert following.track(frame(shot, n)).state in FOUND
            except EngineFailed:
                failed.append(n)
        assert failed == [4]


def test_before_there_is_depth_no_place_is_a_surprise() -> None:
    enough = SequenceConfig(still_px=0.0, min_inliers=16)
    with tracker(sideways()[:2], enough) as (following, _):
        _, second = (following.track(frame(shot, n)) for n, shot in enumerate(sideways()[:2]))
    config = enough.replace(min_inliers=int(second.matches / 1.3))
    _, tracked = follow(sideways()[:2], config)
    assert tracked[1].state is TrackingState.TRACKED
