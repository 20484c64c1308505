# SPDX-License-Identifier: Apache-2.0
"""A tracker on an engine that knows the truth: it follows, gets lost, finds back, closes loops."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from oracle_engine import ErrorModel, OracleEngine
from scene import Scene, Shot, placed, small_camera

pytest.importorskip('scipy')

from mast3r_ros.choices import SolverRule
from mast3r_ros.config import MatchingConfig, ModelConfig, PipelineConfig
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.products import Cloud
from mast3r_ros.core.results import Output
from mast3r_ros.core.views import Grid, View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.errors import EngineFailed, InvalidInput
from mast3r_ros.sequence import pair_motion
from mast3r_ros.sequence.accuracy import Accuracy, evaluate
from mast3r_ros.sequence.answers import EngineAnswers
from mast3r_ros.sequence.frames import SequenceFrame, TrackedFrame, TrackingState
from mast3r_ros.sequence.tracker import Tracker
from mast3r_ros.sequence.trajectory import Trajectory
from mast3r_ros.sequence.unknown_camera import FRAMES_LOOKED_AT, UnknownCamera
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


def frame(shot: Shot, number: int, **options: object) -> SequenceFrame:
    return SequenceFrame(View(shot.image, shot.camera, stamp_ns=number * 10**8), **options)


@contextmanager
def tracker(shots: Sequence[Shot], config: SequenceConfig | None = None, **options: object):
    """Yield a tracker on an oracle that knows these pictures, and that oracle."""
    engine = OracleEngine(CONFIG.model, **{'errors': ERRORS, **options}).register_shots(shots)
    with EngineWorker(lambda: engine) as worker:
        worker.wait_ready()
        config = config or SequenceConfig(still_px=0.0)
        yield Tracker(EngineAnswers(worker, CONFIG), config), engine


def follow(shots: Sequence[Shot], config: SequenceConfig | None = None, **options: object):
    with tracker(shots, config, **options) as (following, _):
        return following, [following.track(frame(shot, n)) for n, shot in enumerate(shots)]


def accuracy(tracked: list[TrackedFrame], shots: Sequence[Shot], with_scale=True) -> Accuracy:
    found = [(item.stamp_ns, item.T_world_camera) for item in tracked if item.keyframe]
    true = [(n * 10**8, np.linalg.inv(shot.T_camera_world)) for n, shot in enumerate(shots)]
    return evaluate(
        Trajectory.of(*zip(*found, strict=True)),
        Trajectory.of(*zip(*true, strict=True)),
        with_scale=with_scale,
    )


def states(tracked: list[TrackedFrame]) -> set[TrackingState]:
    return {item.state for item in tracked}


def test_every_frame_of_a_walk_is_placed_where_it_was():
    following, tracked = follow(sideways())
    assert states(tracked) <= {TrackingState.STARTED, TrackingState.TRACKED}
    assert len(following.keyframes) > 2
    result = accuracy(tracked, sideways())
    assert result.summary()['ate_m'].rmse < 0.03
    assert result.summary()['rpe_deg'].median < 0.3


def test_the_world_begins_at_the_first_camera():
    _, tracked = follow(sideways()[:3])
    np.testing.assert_array_equal(tracked[0].T_world_camera, np.eye(4))
    assert tracked[0].state is TrackingState.STARTED


def test_points_come_in_the_world_s_unit():
    _, tracked = follow(sideways()[:6], scale=0.5)
    unit = accuracy(tracked, sideways()[:6]).alignment.scale
    for item, shot in zip(tracked[1:], sideways()[1:], strict=False):
        assert unit * np.nanmedian(item.cloud.depth) == pytest.approx(
            np.nanmedian(shot.depth), rel=0.1
        )


@pytest.mark.parametrize(
    'provides', [Output.WARP | Output.CLOUD_1 | Output.CLOUD_2, Output.CLOUD_1 | Output.CLOUD_2]
)
def test_engines_that_match_otherwise_do_too(provides):
    shots = sideways()[:10]
    _, tracked = follow(shots, provides=provides)
    assert TrackingState.LOST not in states(tracked)
    assert accuracy(tracked, shots).summary()['ate_m'].rmse < 0.1


def test_an_engine_that_gives_no_points_is_said_to_be_of_no_use():
    _, tracked = follow(sideways()[:3], provides=Output.WARP)
    assert tracked[1].state is TrackingState.LOST
    assert 'no points' in tracked[1].reason


def test_a_picture_of_elsewhere_is_lost_and_the_next_one_is_found_again():
    shots = list(sideways()[:8])
    elsewhere = Scene(5).look(small_camera(), placed(30.0, 9.0, 0.0, 0.0))
    shots.insert(4, elsewhere)
    _, tracked = follow(shots)
    assert tracked[4].state is TrackingState.LOST
    assert tracked[4].T_world_camera is None
    assert tracked[4].reason
    assert all(item.state in FOUND for item in tracked[5:])


def test_a_kidnapped_camera_is_found_where_it_was_before():
    walk = list(sideways(12, 0.8))
    shots = [*walk, walk[1], walk[2]]
    following, tracked = follow(shots, SequenceConfig(still_px=0.0, loop_edges=0))
    assert tracked[-2].state is TrackingState.RELOCALISED
    assert tracked[-1].state in FOUND
    assert tracked[-2].keyframe.number < len(following.keyframes) // 2
    assert accuracy(tracked, shots).ate_m[-2:].max() < 0.1


def test_without_candidates_a_kidnapped_camera_stays_lost():
    walk = list(sideways(12, 0.8))
    config = SequenceConfig(still_px=0.0, loop_edges=0, relocalise_candidates=0)
    _, tracked = follow([*walk, walk[1]], config)
    assert tracked[-1].state is TrackingState.LOST


def test_a_way_there_and_back_closes_a_loop_and_is_better_for_it():
    shots = [*sideways(10, 0.2), *sideways(10, 0.2)[::-1][1:]]
    poor = {'errors': ErrorModel(depth=0.06, match_px=1.2)}
    open_ended, first = follow(shots, SequenceConfig(still_px=0.0, loop_edges=0), **poor)
    closed, second = follow(shots, SequenceConfig(still_px=0.0, loop_edges=3), **poor)
    assert open_ended.keyframes.loops == 0
    assert closed.keyframes.loops > 0
    assert closed.keyframes.changes > 0
    rmse = [accuracy(t, shots).summary()['ate_m'].rmse for t in (first, second)]
    assert rmse[1] < rmse[0]


def test_frames_move_with_their_keyframe():
    _, tracked = follow(sideways()[:6])
    before = tracked[-1].T_world_camera
    keyframe = tracked[-1].keyframe
    shift = np.eye(4)
    shift[:3, 3] = 1.0, 2.0, 3.0
    keyframe.T_world_camera = shift @ keyframe.T_world_camera
    np.testing.assert_allclose(tracked[-1].T_world_camera, shift @ before)


def test_a_keyframe_of_another_unit_says_so_to_the_graph():
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


def test_a_standing_camera_costs_no_inference():
    shot = sideways()[0]
    noisy = [
        replace(shot, image=np.clip(shot.image.astype(int) + n % 2, 0, 255).astype(np.uint8))
        for n in range(5)
    ]
    with tracker([*sideways()[:2], *noisy], SequenceConfig(still_px=0.5)) as (following, engine):
        following.track(frame(shot, 0))
        asked = len(engine.asked)
        for n in range(1, 5):
            found = following.track(frame(noisy[n], n))
            assert found.state is TrackingState.STILL
            assert found.stamp_ns == n * 10**8
        assert len(engine.asked) == asked
        assert following.track(frame(sideways()[1], 6)).state is TrackingState.TRACKED


def test_a_view_is_encoded_once_while_it_is_followed_against():
    with tracker(sideways()[:5], SequenceConfig(still_px=0.0, keyframe_overlap=0.05)) as (
        following,
        engine,
    ):
        for n, shot in enumerate(sideways()[:5]):
            following.track(frame(shot, n))
        assert len(engine.encoded) == 5


def test_given_poses_are_taken_and_make_the_map_metric():
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


@pytest.mark.parametrize('error', [cv2.error('degenerate'), np.linalg.LinAlgError('singular')])
def test_a_solver_that_raises_costs_a_frame_and_says_why(monkeypatch, error):
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


def test_no_loop_moves_poses_that_are_given_though_some_are_not():
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


def test_no_loop_moves_poses_that_are_given():
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


def test_a_given_pose_holds_even_where_nothing_matches():
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


def test_odometry_bridges_frames_that_show_nothing():
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


def test_odometry_in_metres_is_no_bridge_where_the_unit_is_not_known():
    blind = Scene(5).look(small_camera(), placed(30.0, 9.0))
    shots = [*sideways()[:3], blind]
    with tracker(shots) as (following, _):
        tracked = [
            following.track(frame(s, n, T_odometry_camera=np.linalg.inv(s.T_camera_world)))
            for n, s in enumerate(shots)
        ]
    assert tracked[3].state is TrackingState.LOST


def test_an_engine_that_fails_once_costs_one_frame():
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


def test_old_keyframes_are_let_go_and_their_poses_stay():
    config = SequenceConfig(still_px=0.0, keyframes_max=3, loop_edges=0)
    following, tracked = follow(sideways(14, 0.4), config)
    whole = [item.number for item in following.keyframes if item.view is not None]
    assert len(following.keyframes) > 4
    assert len(whole) <= 3
    assert whole[0] == 0
    assert accuracy(tracked, sideways(14, 0.4)).summary()['ate_m'].rmse < 0.1


def bare(shot: Shot, number: int, **options: object) -> SequenceFrame:
    """Return a frame whose camera nobody has calibrated."""
    return SequenceFrame(View(shot.image, stamp_ns=number * 10**8), **options)


def follow_bare(shots: Sequence[Shot], rule: str = 'auto', **options: object):
    config = SequenceConfig(still_px=0.0, solver=rule)
    with tracker(shots, config, **options) as (following, _):
        return following, [following.track(bare(shot, n)) for n, shot in enumerate(shots)]


@pytest.mark.parametrize('rule', ['auto', 'rays', 'pixels'])
def test_without_calibration_every_frame_is_placed_from_the_first_on(rule):
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


def test_until_the_focal_length_is_settled_frames_are_placed_by_their_rays(monkeypatch):
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
def test_where_a_believed_focal_length_explains_nothing_the_rays_do(monkeypatch, calibrated):
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


def replace_focal(camera: Camera, factor: float) -> Camera:
    focal_px = factor * camera.fx
    center = camera.cx, camera.cy
    return Camera.pinhole(camera.width, camera.height, focal_px, focal_px, *center)


def test_pictures_of_elsewhere_tell_nothing_of_the_camera():
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


def test_a_bent_lens_is_never_taken_for_a_pinhole():
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


def test_an_engine_that_always_tells_the_same_is_said_to_guess():
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


def test_a_calibration_that_comes_late_is_taken():
    shots = sideways()
    with tracker(shots) as (following, _):
        early = [following.track(bare(shot, n)) for n, shot in enumerate(shots[:5])]
        late = [following.track(frame(shot, n)) for n, shot in enumerate(shots[5:], 5)]
    assert TrackingState.LOST not in states([*early, *late])
    assert {item.camera for item in following.keyframes} == {shots[0].camera}
    assert following.keyframes.unknown.focal_px is None
    assert accuracy([*early, *late], shots).summary()['ate_m'].rmse < 0.04


@pytest.mark.parametrize('metric', [False, True])
def test_poses_that_are_given_make_the_map_metric_without_calibration_too(metric):
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
def test_the_unit_of_given_poses_moves_no_frame_that_was_placed_before(calibrated):
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
def test_a_mere_turn_gives_no_unit_to_poses_that_are_given(calibrated):
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


def test_given_poses_in_the_dark_add_no_keyframes_and_those_of_a_new_place_do():
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


def test_before_there_is_depth_no_place_is_a_surprise():
    enough = SequenceConfig(still_px=0.0, min_inliers=16)
    with tracker(sideways()[:2], enough) as (following, _):
        _, second = (following.track(frame(shot, n)) for n, shot in enumerate(sideways()[:2]))
    config = enough.replace(min_inliers=int(second.matches / 1.3))
    _, tracked = follow(sideways()[:2], config)
    assert tracked[1].state is TrackingState.TRACKED


def test_frames_of_another_size_need_a_calibration_of_their_own():
    large, small = sideways()[0], SCENE.look(small_camera(120, 100))
    with tracker([large, small]) as (following, _):
        following.track(bare(large, 0))
        with pytest.raises(InvalidInput, match='160x120, then 120x100'):
            following.track(bare(small, 1))


def test_a_late_calibration_of_another_size_is_refused_and_changes_nothing():
    shots, other = sideways()[:4], SCENE.look(small_camera(120, 100))
    with tracker([*shots, other]) as (following, _):
        early = [following.track(bare(shot, n)) for n, shot in enumerate(shots[:3])]
        with pytest.raises(InvalidInput, match='160x120, and one with calibration is 120x100'):
            following.track(frame(other, 3))
        assert following.keyframes.unknown.is_believed_in
        assert {item.camera.width for item in following.keyframes} == {160}
        assert following.track(bare(shots[3], 4)).state is TrackingState.TRACKED
    assert TrackingState.LOST not in states(early)


def test_a_stereo_pair_without_calibration_is_refused_in_words():
    shot = sideways()[0]
    with (
        tracker([shot]) as (following, _),
        pytest.raises(InvalidInput, match='no calibration'),
    ):
        following.track(bare(shot, 0, right=View(shot.image)))


def test_a_pose_grows_less_sure_along_the_way():
    _, (first, by_matches_alone, *others) = follow(sideways())
    assert not first.covariance.any()
    assert by_matches_alone.covariance is None
    spread = [np.sqrt(np.trace(item.covariance[:3, :3])) for item in others]
    assert 0.0 < spread[0] < spread[-1]
    for item in others:
        assert (np.linalg.eigvalsh(item.covariance) > 0.0).all()


def test_a_sharper_engine_makes_surer_poses():
    shots = sideways()[:3]
    sharp, vague = (
        follow(shots, errors=ErrorModel(match_px=noise))[1][2].covariance for noise in (0.2, 2.0)
    )
    assert np.trace(sharp) < np.trace(vague)
