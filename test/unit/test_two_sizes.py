# SPDX-License-Identifier: Apache-2.0
"""Frames are placed on few pixels; keyframes and the map come from all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
from support.followed_walk import sideways
from support.oracle_engine import ErrorModel, OracleEngine
from support.scene import Scene, Shot, placed, small_camera

pytest.importorskip('scipy')

from mast3r_ros.config import MatchingConfig, ModelConfig, PipelineConfig
from mast3r_ros.core.poses import stereo_pose
from mast3r_ros.core.results import Output
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.sequence.accuracy import evaluate
from mast3r_ros.sequence.answers import EngineAnswers
from mast3r_ros.sequence.frames import SequenceFrame, TrackedFrame, TrackingState
from mast3r_ros.sequence.sequence_map import SequenceMap
from mast3r_ros.sequence.tracker import Tracker
from mast3r_ros.sequence.trajectory import Trajectory
from mast3r_ros.sequence_config import SequenceConfig

SCENE = Scene()
LARGE, SMALL = (98, 140), (56, 84)  # height, width
CONFIG = PipelineConfig(
    model=ModelConfig(shape=LARGE), matching=MatchingConfig(subsample=3, border_px=1)
)
FRAMES = 14
EACH_FRAME = SequenceConfig(still_px=0.0)


def frames_of(shots: Sequence[Shot]) -> list[SequenceFrame]:
    return [
        SequenceFrame(View(shot.image, shot.camera, stamp_ns=n * 10**8))
        for n, shot in enumerate(shots)
    ]


@contextmanager
def tracker(shots: Sequence[Shot], *, small: tuple[int, int] | None = SMALL, model=CONFIG.model):
    engine = OracleEngine(model, errors=ErrorModel(match_px=0.5), tracking_shape=small)
    engine.register_shots(shots)
    with EngineWorker(lambda: engine) as worker:
        worker.wait_ready()
        yield Tracker(EngineAnswers(worker, CONFIG), EACH_FRAME), engine


def off_m(tracked: Sequence[TrackedFrame], shots: Sequence[Shot]) -> float:
    poses = [item.T_world_camera for item in tracked]
    true = [np.linalg.inv(shot.T_camera_world) for shot in shots]
    stamps = [item.stamp_ns for item in tracked]
    found = evaluate(Trajectory.of(stamps, poses), Trajectory.of(stamps, true), with_scale=True)
    return float(found.summary()['ate_m'].rmse)


def size(array: np.ndarray) -> tuple[int, int]:
    return array.shape[0], array.shape[1]


@cache
def followed() -> tuple[Tracker, list[TrackedFrame], OracleEngine]:
    with tracker(sideways(FRAMES)) as (following, engine):
        return following, [following.track(item) for item in frames_of(sideways(FRAMES))], engine


def test_frames_between_keyframes_are_placed_on_few_pixels_and_keyframes_on_all():
    following, tracked, _ = followed()
    assert {item.state for item in tracked[1:]} == {TrackingState.TRACKED}
    sizes = Counter((item.is_keyframe, size(item.cloud.depth)) for item in tracked[2:])
    assert set(sizes) == {(False, SMALL), (True, LARGE)}
    assert min(sizes.values()) >= 2
    assert {size(item.depth) for item in following.keyframes} == {LARGE}
    assert all(item.has_depth for item in following.keyframes)


def test_poses_are_in_pixels_of_the_picture_whatever_the_size():
    _, tracked, _ = followed()
    with tracker(sideways(FRAMES), small=None, model=ModelConfig(shape=SMALL)) as (following, _):
        on_few_alone = [following.track(item) for item in frames_of(sideways(FRAMES))]
    assert off_m(tracked, sideways(FRAMES)) < 0.03
    assert off_m(tracked, sideways(FRAMES)) < off_m(on_few_alone, sideways(FRAMES))


def test_depth_of_frames_and_keyframes_is_in_one_unit():
    following, tracked, _ = followed()
    unit = np.nanmedian(tracked[-1].cloud.depth) / np.nanmedian(sideways(FRAMES)[-1].depth)
    for item in tracked[2:]:
        true = np.nanmedian(sideways(FRAMES)[item.stamp_ns // 10**8].depth)
        assert np.nanmedian(item.cloud.depth) / true == pytest.approx(unit, rel=0.12)
    for keyframe in following.keyframes:
        true = np.nanmedian(sideways(FRAMES)[keyframe.stamp_ns // 10**8].depth)
        assert keyframe.typical_depth * keyframe.scale / true == pytest.approx(unit, rel=0.12)


def test_each_frame_is_encoded_once_at_each_size_that_it_is_needed_at():
    following, tracked, engine = followed()
    encoded = Counter(
        (item.digest, (item.grid.height, item.grid.width)) for item in engine.features
    )
    assert set(encoded.values()) == {1}
    on_all = sum(shape == LARGE for _, shape in encoded)
    assert on_all <= len(following.keyframes) + 1  # the second frame begins the first one's depth
    assert sum(shape == SMALL for _, shape in encoded) >= len(tracked) - 2


def test_few_pixels_are_not_asked_for_what_nobody_takes_from_them():
    asked: list[tuple[int, Output]] = []

    class Noting(OracleEngine):
        def decode(self, pairs, outputs):
            asked.extend((pair[0].grid.width, outputs) for pair in pairs)
            return super().decode(pairs, outputs)

    engine = Noting(CONFIG.model, errors=ErrorModel(match_px=0.5), tracking_shape=SMALL)
    engine.register_shots(sideways(FRAMES))
    with EngineWorker(lambda: engine) as worker:
        worker.wait_ready()
        following = Tracker(EngineAnswers(worker, CONFIG), EACH_FRAME)
        for item in frames_of(sideways(FRAMES)[:6]):
            following.track(item)
    on_few = {outputs for width, outputs in asked if width == SMALL[1]}
    assert on_few == {Output.CLOUD_1 | Output.DESC}


def test_the_map_has_the_detail_of_all_pixels():
    following, _, _ = followed()
    points = len(SequenceMap(following.keyframes, EACH_FRAME.replace(map_voxel=1e-4)).cloud())
    settled = len(following.keyframes) - 1
    assert points > 0.5 * settled * LARGE[0] * LARGE[1]
    assert points > settled * SMALL[0] * SMALL[1]


def test_a_frame_that_is_made_a_keyframe_after_all_gets_its_depth_from_all_pixels():
    shots = sideways(FRAMES)[:4]
    with tracker(shots) as (following, _):
        tracked = [following.track(item) for item in frames_of(shots)]
        last = tracked[-1]
        assert not last.is_keyframe
        assert size(last.cloud.depth) == SMALL
        promoted = following._promote(last)
    assert size(promoted.depth) == LARGE
    true = np.nanmedian(shots[-1].depth)
    unit = np.nanmedian(last.cloud.depth) / true
    assert promoted.typical_depth / true == pytest.approx(unit, rel=0.05)


def test_a_stereo_camera_has_its_depth_at_both_sizes_in_metres():
    width, height, baseline_m = 200, 150, 0.3
    pairs = [
        (
            SCENE.look(small_camera(width, height), placed(x)),
            SCENE.look(small_camera(width, height, baseline_m), placed(x + baseline_m)),
        )
        for x in (0.0, 0.06, 0.12, 0.18)
    ]
    with tracker([shot for pair in pairs for shot in pair]) as (following, _):
        tracked = [
            following.track(
                SequenceFrame(
                    left.view(stamp_ns=n),
                    right.view(stamp_ns=n),
                    stereo_pose(left.camera, right.camera),
                )
            )
            for n, (left, right) in enumerate(pairs)
        ]
    sizes = {(item.is_keyframe, size(item.cloud.depth)) for item in tracked}
    assert sizes >= {(True, LARGE), (False, SMALL)}
    for item, (left, _) in zip(tracked, pairs, strict=True):
        assert np.nanmedian(item.cloud.depth) == pytest.approx(np.nanmedian(left.depth), rel=0.05)
