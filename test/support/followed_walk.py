# SPDX-License-Identifier: Apache-2.0
"""A tracker that follows a walk along a wall, on an oracle, and how near the truth it came."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
from support.oracle_engine import ErrorModel, OracleEngine
from support.scene import Scene, Shot, placed, small_camera

from mast3r_ros.config import MatchingConfig, ModelConfig, PipelineConfig
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.sequence.accuracy import Accuracy, evaluate
from mast3r_ros.sequence.answers import EngineAnswers
from mast3r_ros.sequence.frames import SequenceFrame, TrackedFrame, TrackingState
from mast3r_ros.sequence.tracker import Tracker
from mast3r_ros.sequence.trajectory import Trajectory
from mast3r_ros.sequence_config import SequenceConfig

SCENE = Scene()
ERRORS = ErrorModel(match_px=0.5)
CONFIG = PipelineConfig(
    model=ModelConfig(resolution=112), matching=MatchingConfig(subsample=3, border_px=1)
)
FOUND = (TrackingState.STARTED, TrackingState.TRACKED, TrackingState.RELOCALISED)


@cache
def sideways(frames: int = 16, step_m: float = 0.1) -> tuple[Shot, ...]:
    """Return what a camera sees that goes along the wall, turning a little."""
    camera = small_camera()
    return tuple(
        SCENE.look(camera, placed(step_m * n, 0.01 * n, 0.3 * np.sin(0.2 * n), 0.5 * n))
        for n in range(frames)
    )


def frame(shot: Shot, number: int, **options: Any) -> SequenceFrame:
    """Return a frame whose camera is calibrated."""
    return SequenceFrame(View(shot.image, shot.camera, stamp_ns=number * 10**8), **options)


def bare(shot: Shot, number: int, **options: Any) -> SequenceFrame:
    """Return a frame whose camera nobody has calibrated."""
    return SequenceFrame(View(shot.image, stamp_ns=number * 10**8), **options)


@contextmanager
def tracker(
    shots: Sequence[Shot], config: SequenceConfig | None = None, **options: Any
) -> Iterator[tuple[Tracker, OracleEngine]]:
    """Yield a tracker on an oracle that knows these pictures, and that oracle."""
    engine = OracleEngine(CONFIG.model, **{'errors': ERRORS, **options}).register_shots(shots)
    with EngineWorker(lambda: engine) as worker:
        worker.wait_ready()
        config = config or SequenceConfig(still_px=0.0)
        yield Tracker(EngineAnswers(worker, CONFIG), config), engine


def follow(
    shots: Sequence[Shot], config: SequenceConfig | None = None, **options: Any
) -> tuple[Tracker, list[TrackedFrame]]:
    """Return the tracker after a whole walk, and what it said of every frame."""
    with tracker(shots, config, **options) as (following, _):
        return following, [following.track(frame(shot, n)) for n, shot in enumerate(shots)]


def accuracy(
    tracked: list[TrackedFrame], shots: Sequence[Shot], with_scale: bool = True
) -> Accuracy:
    """Compare the frames that were placed with where their cameras stood."""
    found = [(item.stamp_ns, item.T_world_camera) for item in tracked if item.keyframe]
    true = [(n * 10**8, np.linalg.inv(shot.T_camera_world)) for n, shot in enumerate(shots)]
    return evaluate(
        Trajectory.of(*zip(*found, strict=True)),
        Trajectory.of(*zip(*true, strict=True)),
        with_scale=with_scale,
    )


def states(tracked: list[TrackedFrame]) -> set[TrackingState]:
    return {item.state for item in tracked}
