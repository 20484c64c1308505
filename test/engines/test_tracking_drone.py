# SPDX-License-Identifier: Apache-2.0
"""The simulated drone followed with the geometric stereo engine, in metres."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import pytest
from drone_flight import Shot, flight

pytest.importorskip('scipy')

from mast3r_ros.config import PipelineConfig
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.engines.geometric.engine import GeometricEngine
from mast3r_ros.sequence.accuracy import Accuracy, evaluate
from mast3r_ros.sequence.answers import EngineAnswers
from mast3r_ros.sequence.frames import TrackedFrame
from mast3r_ros.sequence.tracker import Tracker
from mast3r_ros.sequence.trajectory import Trajectory
from mast3r_ros.sequence_config import SequenceConfig

FIRST, FRAMES, WIDTH = 34, 11, 240


def follow(
    shots: Sequence[Shot], config: SequenceConfig | None = None
) -> tuple[Tracker, list[TrackedFrame]]:
    pipeline = PipelineConfig()
    with EngineWorker(lambda: GeometricEngine(pipeline)) as worker:
        worker.wait_ready()
        following = Tracker(EngineAnswers(worker, pipeline), config)
        return following, [following.track(shot.frame()) for shot in shots]


@cache
def followed(boxes_move: bool) -> tuple[Tracker, list[TrackedFrame]]:
    return follow(flight(FRAMES, first=FIRST, width=WIDTH, boxes_move=boxes_move))


def accuracy(tracked: list[TrackedFrame], shots: Sequence[Shot]) -> Accuracy:
    found = [(item.stamp_ns, item.T_world_camera) for item in tracked if item.keyframe]
    true = [(shot.stamp_ns, shot.T_world_left) for shot in shots]
    return evaluate(
        Trajectory.of(*zip(*found, strict=True)),
        Trajectory.of(*zip(*true, strict=True)),
        with_scale=False,
    )


def overlap(tracked: list[TrackedFrame], shots: Sequence[Shot]) -> float:
    """Return intersection over union of all masks together."""
    pairs = [(item.dynamic, shot.moves) for item, shot in zip(tracked, shots, strict=True)]
    both = sum(np.count_nonzero(found & true) for found, true in pairs)
    either = sum(np.count_nonzero(found | true) for found, true in pairs)
    return both / max(either, 1)


@pytest.mark.parametrize('boxes_move', [False, True])
def test_the_drone_is_followed_within_a_hundredth_of_its_way(boxes_move):
    shots = flight(FRAMES, first=FIRST, width=WIDTH, boxes_move=boxes_move)
    _, tracked = followed(boxes_move)
    result = accuracy(tracked, shots)
    assert len(result.truth) == FRAMES
    assert result.summary()['ate_m'].rmse < 0.01 * result.truth.length
    assert {item.scale_source for item in tracked} == {ScaleSource.STEREO_BASELINE}


def test_boxes_that_move_are_found_and_a_static_scene_stays_static():
    moving = flight(FRAMES, first=FIRST, width=WIDTH)
    assert overlap(followed(True)[1][4:], moving[4:]) >= 0.55  # at 240 px; 0.6 holds at 320
    assert not any(item.dynamic.any() for item in followed(False)[1])


def test_keyframes_have_no_depth_on_what_moves():
    following, _ = followed(True)
    hidden = [item for item in following.keyframes if item.dynamic is not None]
    assert hidden
    for item in hidden:
        assert np.isnan(item.depth[item.dynamic]).all()


@pytest.mark.soak
def test_a_whole_flight_is_followed_and_comes_back_to_where_it_began():
    shots = flight(64, width=320, rate_hz=4.0)
    following, tracked = follow([*shots, shots[0], shots[1]])
    result = accuracy(tracked[:64], shots)
    assert len(result.truth) == 64
    assert result.summary()['ate_m'].rmse < 0.01 * result.truth.length
    assert following.keyframes.loops > 0
    np.testing.assert_allclose(
        tracked[64].T_world_camera, tracked[0].T_world_camera, atol=0.02 * result.truth.length
    )


@pytest.mark.soak
def test_moving_boxes_do_not_make_the_way_worse():
    results = {}
    for boxes_move in (False, True):
        shots = flight(72, width=320, boxes_move=boxes_move)
        _, tracked = follow(shots)
        results[boxes_move] = accuracy(tracked, shots).summary()['ate_m'].rmse
        if boxes_move:
            assert overlap(tracked, shots) >= 0.6
        else:
            assert np.mean([item.dynamic.mean() for item in tracked]) < 1e-3
    assert results[True] <= 1.2 * results[False]
