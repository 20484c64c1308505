# SPDX-License-Identifier: Apache-2.0
"""A camera is followed while its pairs come in: from frame to frame, with what a node may meet."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from oracle_engine import ErrorModel, OracleEngine
from scene import Scene, Shot, placed, small_camera

pytest.importorskip('scipy')

from mast3r_ros.config import MatchingConfig, ModelConfig, PairingConfig, PipelineConfig
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.follower import Follower
from mast3r_ros.sequence.frames import TrackingState
from mast3r_ros.sequence.unknown_camera import FRAMES_LOOKED_AT
from mast3r_ros.sequence_config import SequenceConfig

CONFIG = PipelineConfig(
    model=ModelConfig(resolution=112),
    matching=MatchingConfig(subsample=3, border_px=1),
    pairing=PairingConfig(mode='sequence'),
)
STEREO = CONFIG.replace(pairing=PairingConfig(mode='stereo'))
PERIOD_NS = 10**8


def walk(frames: int = 6) -> list[Shot]:
    """Return what a camera sees that goes to the right."""
    scene, camera = Scene(), small_camera()
    return [scene.look(camera, placed(0.1 * n, 0.0, 0.0, 0.0)) for n in range(frames)]


class Seen:
    """A follower, and what it said of each frame."""

    def __init__(
        self, worker: EngineWorker, config: PipelineConfig, use: str = 'motion', **options: object
    ) -> None:
        self.frames = []
        self.problems = []
        self._told = threading.Semaphore(0)
        self.follower = Follower(
            worker,
            config,
            SequenceConfig(still_px=0.0, odometry_use=use),
            posed=lambda pair: pair,
            on_frame=lambda found, view: self._say(self.frames, (found, view)),
            on_problem=lambda pair, error: self._say(self.problems, error),
            **options,
        )

    def show(self, *views: View) -> None:
        """Show one pair after the other, each once the one before was followed."""
        for before, view in zip([views[0], *views], views, strict=False):
            self.follower.add([ViewPair(view, before)])
            assert self._told.acquire(timeout=30.0)

    @property
    def states(self) -> list[TrackingState]:
        return [found.state for found, _ in self.frames]

    def _say(self, where: list, what: object) -> None:
        where.append(what)
        self._told.release()


@contextmanager
def following(shots: Sequence[Shot], config: PipelineConfig = CONFIG, **options: object):
    engine = OracleEngine(CONFIG.model, errors=ErrorModel(match_px=0.5)).register_shots(shots)
    with EngineWorker(lambda: engine) as worker:
        worker.wait_ready()
        yield Seen(worker, config, **options)


def views_of(shots: Sequence[Shot], start_ns: int = 0, **options: object) -> list[View]:
    return [
        View(shot.image, shot.camera, stamp_ns=start_ns + n * PERIOD_NS, **options)
        for n, shot in enumerate(shots)
    ]


def test_every_frame_is_followed_from_the_first_on():
    shots = walk()
    with following(shots) as seen:
        seen.show(*views_of(shots))
    assert seen.states[0] is TrackingState.STARTED
    assert set(seen.states[1:]) == {TrackingState.TRACKED}
    assert [stamp for stamp, _ in seen.follower.way.poses()] == [
        n * PERIOD_NS for n in range(len(shots))
    ]
    now = seen.follower.now
    assert (now.state, now.frames, now.lost) == (TrackingState.TRACKED, len(shots), 0)


def test_a_reset_begins_a_new_world():
    shots = walk()
    with following(shots) as seen:
        views = views_of(shots)
        seen.show(*views[:4])
        seen.follower.reset()
        seen.show(views[4])
    assert seen.states[-1] is TrackingState.STARTED
    np.testing.assert_array_equal(seen.frames[-1][0].T_world_camera, np.eye(4))
    assert len(seen.follower.way.poses()) == 1


def test_a_stamp_that_goes_back_begins_a_new_world():
    shots = walk(4)
    with following(shots) as seen:
        seen.show(*views_of(shots, start_ns=10**10))
        seen.show(*views_of(shots[:2]))
    assert seen.states[-2:] == [TrackingState.STARTED, TrackingState.TRACKED]


def test_without_calibration_it_follows_from_the_first_frame_on_and_says_what_it_believes():
    shots = walk(FRAMES_LOOKED_AT + 2)
    views = [replace(view, camera=None) for view in views_of(shots)]
    with following(shots) as seen:
        seen.show(*views[:4])
        early = seen.follower.now
        seen.show(*views[4:])
    assert seen.states[0] is TrackingState.STARTED
    assert set(seen.states[1:]) == {TrackingState.TRACKED}
    assert (early.focal_is_settled, seen.follower.now.focal_is_settled) == (False, True)
    assert seen.follower.now.focal_px == pytest.approx(shots[0].camera.fx, rel=0.1)


def test_a_stereo_pair_without_calibration_is_said_to_be_of_no_use():
    shots = walk(2)
    with following(shots, STEREO) as seen:
        seen.show(*views_of(shots))
    assert seen.frames == []
    (first, *_) = seen.problems
    assert isinstance(first, InvalidInput)
    assert 'camera_info' in str(first)
    assert seen.follower.now.state is TrackingState.LOST
    assert seen.follower.drops == {'failed': len(seen.problems)}


def test_the_newest_pair_wins():
    shots = walk(5)
    views = views_of(shots)
    with following(shots) as seen:
        busy = threading.Event()
        waiting = threading.Thread(
            target=lambda: seen.follower._worker.call(lambda engine: busy.wait(10.0))
        )
        waiting.start()
        pairs = [ViewPair(view, before) for before, view in pairwise(views)]
        for pair in pairs:
            seen.follower.add([pair])
        busy.set()
        waiting.join()
        assert seen._told.acquire(timeout=30.0)
        seen.follower._worker.call(lambda engine: None)
    assert [found.stamp_ns for found, _ in seen.frames] == [views[-1].stamp_ns]
    assert seen.follower.drops == {'superseded': len(pairs) - 1}


def test_what_was_dropped_stays_counted_when_a_new_world_begins():
    shots = walk(4)
    with following(shots, STEREO) as seen:
        seen.show(*views_of(shots[:2]))
        lost = dict(seen.follower.drops)
        seen.follower.reset()
        seen.show(*views_of(shots[2:], start_ns=10**10))
        assert lost['failed'] == 2
        assert seen.follower.drops == {'failed': 4}


def told_by(shots: Sequence[Shot], known: Sequence[int]):
    """Return an odometry that knows some of the frames by their stamps, in a world of its own."""
    elsewhere = np.linalg.inv(placed(50.0, 3.0, 7.0, 40.0))
    poses = {n * PERIOD_NS: elsewhere @ np.linalg.inv(shots[n].T_camera_world) for n in known}
    return lambda view: poses.get(view.stamp_ns)


def test_poses_that_are_told_are_taken_and_a_gap_is_followed_by_the_pictures():
    shots = walk(7)
    odometry = told_by(shots, (0, 1, 2, 5, 6))
    with following(shots, use='poses', odometry=odometry) as seen:
        seen.show(*views_of(shots))
    given, tracked = TrackingState.GIVEN, TrackingState.TRACKED
    assert seen.states == [given, given, given, tracked, tracked, given, given]
    whole = told_by(shots, range(7))
    for found, view in seen.frames:
        np.testing.assert_allclose(found.T_world_camera[:3, 3], whole(view)[:3, 3], atol=0.02)


def test_poses_that_begin_late_begin_a_new_world_that_is_theirs():
    shots = walk(6)
    odometry = told_by(shots, (3, 4, 5))
    with following(shots, use='poses', odometry=odometry) as seen:
        seen.show(*views_of(shots))
    assert seen.states[0] is TrackingState.STARTED
    assert seen.states[3:] == [TrackingState.GIVEN] * 3
    assert len(seen.follower.way.poses()) == 3
    last = seen.frames[-1][0]
    np.testing.assert_allclose(last.T_world_camera, odometry(views_of(shots)[5]), atol=1e-9)


def test_motion_that_is_told_leaves_the_world_where_it_began():
    shots = walk(5)
    with following(shots, odometry=told_by(shots, range(5))) as seen:
        seen.show(*views_of(shots))
    assert set(seen.states[1:]) == {TrackingState.TRACKED}
    assert np.abs(seen.frames[-1][0].T_world_camera[:3, 3]).max() < 1.0
