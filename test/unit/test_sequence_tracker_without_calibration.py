# SPDX-License-Identifier: Apache-2.0
"""A camera that nobody has calibrated is followed, and its focal length is learnt on the way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.scene import Scene, Shot, placed, small_camera

pytest.importorskip('scipy')

from support.followed_walk import SCENE, accuracy, bare, follow, frame, sideways, states, tracker

from mast3r_ros.choices import SolverRule
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.products import Cloud
from mast3r_ros.core.views import Grid, View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence import pair_motion
from mast3r_ros.sequence.frames import TrackedFrame, TrackingState
from mast3r_ros.sequence.tracker import Tracker
from mast3r_ros.sequence.unknown_camera import FRAMES_LOOKED_AT, UnknownCamera
from mast3r_ros.sequence_config import SequenceConfig


def follow_bare(
    shots: Sequence[Shot], rule: str = 'auto', **options: Any
) -> tuple[Tracker, list[TrackedFrame]]:
    config = SequenceConfig(still_px=0.0, solver=rule)
    with tracker(shots, config, **options) as (following, _):
        return following, [following.track(bare(shot, n)) for n, shot in enumerate(shots)]


def replace_focal(camera: Camera, factor: float) -> Camera:
    focal_px = factor * camera.fx
    center = camera.cx, camera.cy
    return Camera.pinhole(camera.width, camera.height, focal_px, focal_px, *center)


@pytest.mark.parametrize('rule', ['auto', 'rays', 'pixels'])
def test_without_calibration_every_frame_is_placed_from_the_first_on(rule: str) -> None:
    shots = sideways()
    following, tracked = follow_bare(shots, rule)
    assert states(tracked) <= {TrackingState.STARTED, TrackingState.TRACKED}
    result = accuracy(tracked, shots)
    assert result.summary()['ate_m'].rmse < 0.04
    assert result.summary()['rpe_deg'].median < 0.3
    assert following.keyframes.unknown.is_settled is (rule != 'rays')
    assert tracked[5].dynamic is not None
    assert not any(item.dynamic.any() for item in tracked[5:])  # all of it stands still
    assert following.keyframes.current.camera.fx == pytest.approx(shots[0].camera.fx, rel=0.04)


def test_until_the_focal_length_is_settled_frames_are_placed_by_their_rays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []
    solve = pair_motion.align_rays
    monkeypatch.setattr(
        pair_motion, 'align_rays', lambda *given: asked.append(given) or solve(*given)
    )
    follow_bare(sideways())
    # The first frame begins the world and the second one its depth.
    assert len(asked) >= FRAMES_LOOKED_AT - 3
    asked.clear()
    follow(sideways())
    assert not asked


@pytest.mark.parametrize('calibrated', [False, True])
def test_where_a_believed_focal_length_explains_nothing_the_rays_do(
    monkeypatch: pytest.MonkeyPatch, calibrated: bool
) -> None:
    shots, made = sideways(), frame if calibrated else bare
    config = SequenceConfig(still_px=0.0, relocalise_candidates=0)
    with tracker(shots, config) as (following, _):
        for n, shot in enumerate(shots[:12]):
            following.track(made(shot, n))
        monkeypatch.setattr(pair_motion, 'find_motion', lambda *_: None)
        found = following.track(made(shots[12], 12))
    assert found.state is (TrackingState.LOST if calibrated else TrackingState.TRACKED)
    if not calibrated:
        assert following.keyframes.unknown.is_settled
        true = np.linalg.inv(shots[12].T_camera_world)[:3, 3]
        assert np.linalg.norm(found.T_world_camera[:3, 3]) > 0.5 * np.linalg.norm(true)


def test_pictures_of_elsewhere_tell_nothing_of_the_camera() -> None:
    shots = sideways()[:4]
    elsewhere = [Scene(5).look(small_camera(), placed(30.0 + n, 9.0)) for n in range(3)]
    with tracker([*shots, *elsewhere]) as (following, _):
        for n, shot in enumerate(shots):
            following.track(bare(shot, n))
        told = following.keyframes.unknown.told
        lost = [following.track(bare(shot, 10 + n)) for n, shot in enumerate(elsewhere)]
    assert states(lost) == {TrackingState.LOST}
    assert following.keyframes.unknown.told == told
    assert len(told) == len(shots) - 1


def test_a_bent_lens_is_never_taken_for_a_pinhole() -> None:
    unknown = UnknownCamera(SolverRule.AUTO)
    camera = small_camera()
    view = View(np.zeros((camera.height, camera.width, 3), np.uint8))
    slopes = camera.rays[..., :2] * (1.0 - 0.5 * (camera.rays[..., :2] ** 2).sum(-1))[..., None]
    points = np.concatenate([slopes, np.ones_like(slopes[..., :1])], axis=2)
    cloud = Cloud(Grid(view.image, None, camera), points, np.full(points.shape[:2], 9.0))
    for _ in range(FRAMES_LOOKED_AT + 5):
        unknown.look(view, cloud)
    assert not unknown.is_settled
    straight = replace(cloud, points=camera.rays)
    other = UnknownCamera(SolverRule.AUTO)
    for _ in range(FRAMES_LOOKED_AT):
        other.look(view, straight)
    assert other.is_settled


def test_an_engine_that_always_tells_the_same_is_said_to_guess() -> None:
    unknown = UnknownCamera(SolverRule.AUTO)
    camera = small_camera()
    view = View(np.zeros((camera.height, camera.width, 3), np.uint8))
    confidence = np.full((camera.height, camera.width), 9.0)
    cloud = Cloud(Grid(view.image, None, camera), camera.rays, confidence)
    assert unknown.in_words == ''
    for _ in range(2):
        unknown.look(view, cloud)
    assert unknown.is_guessed
    assert 'give a calibration' in unknown.in_words
    unknown.look(view, replace(cloud, grid=Grid(view.image, None, replace_focal(camera, 1.01))))
    assert not unknown.is_guessed
    assert 'not settled yet' in unknown.in_words


def test_a_calibration_that_comes_late_is_taken() -> None:
    shots = sideways()
    with tracker(shots) as (following, _):
        early = [following.track(bare(shot, n)) for n, shot in enumerate(shots[:5])]
        late = [following.track(frame(shot, n)) for n, shot in enumerate(shots[5:], 5)]
    assert TrackingState.LOST not in states([*early, *late])
    assert {item.camera for item in following.keyframes} == {shots[0].camera}
    assert following.keyframes.unknown.focal_px is None
    assert accuracy([*early, *late], shots).summary()['ate_m'].rmse < 0.04


def test_frames_of_another_size_need_a_calibration_of_their_own() -> None:
    large, small = sideways()[0], SCENE.look(small_camera(120, 100))
    with tracker([large, small]) as (following, _):
        following.track(bare(large, 0))
        with pytest.raises(InvalidInput, match='160x120, then 120x100'):
            following.track(bare(small, 1))


def test_a_late_calibration_of_another_size_is_refused_and_changes_nothing() -> None:
    shots, other = sideways()[:4], SCENE.look(small_camera(120, 100))
    with tracker([*shots, other]) as (following, _):
        early = [following.track(bare(shot, n)) for n, shot in enumerate(shots[:3])]
        with pytest.raises(InvalidInput, match='160x120, and one with calibration is 120x100'):
            following.track(frame(other, 3))
        assert following.keyframes.unknown.is_believed_in
        assert {item.camera.width for item in following.keyframes} == {160}
        assert following.track(bare(shots[3], 4)).state is TrackingState.TRACKED
    assert TrackingState.LOST not in states(early)


def test_a_stereo_pair_without_calibration_is_refused_in_words() -> None:
    shot = sideways()[0]
    with (
        tracker([shot]) as (following, _),
        pytest.raises(InvalidInput, match='no calibration'),
    ):
        following.track(bare(shot, 0, right=View(shot.image)))
