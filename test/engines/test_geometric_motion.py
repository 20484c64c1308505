# SPDX-License-Identifier: Apache-2.0
"""Two frames of a moving camera: the motion, matches and depth up to the baseline's length."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from support.textured_scene import STEPS, Plane, Scene, pose

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.geometry import transform
from mast3r_ros.core.results import InferenceResult, Output, ScaleSource
from mast3r_ros.engines.geometric.engine import GeometricEngine
from mast3r_ros.engines.geometric.pose import find_relative_pose

PINHOLE = Camera.pinhole(320, 240, 300, 300, 159.5, 119.5)
BENT = Camera.pinhole(320, 240, 300, 300, 158.0, 121.0, (-0.28, 0.07, 0.0002, -0.0001, 0.0))
LARGER = Camera.pinhole(400, 300, 380, 380, 199.5, 149.5)

# Planes at several depths: a single one leaves the motion ambiguous.
WORLD = (*STEPS, Plane((0.0, -0.6, 1.0), 1.6, (-3.0, 3.0, 0.35, 3.0)))

MOTIONS = {
    'sideways': (PINHOLE, PINHOLE, pose((0.15, 0.0, 0.0), (0.0, -2.0, 0.0))),
    'forward': (PINHOLE, PINHOLE, pose((0.0, 0.02, 0.25), (0.5, 0.0, 1.0))),
    'up and turning': (PINHOLE, PINHOLE, pose((0.02, -0.15, 0.02), (-3.0, 1.0, 4.0))),
    'distorted': (BENT, BENT, pose((0.12, 0.05, 0.0), (1.0, -2.0, 0.0))),
    'larger view 2': (PINHOLE, LARGER, pose((0.15, 0.0, 0.05), (0.0, -2.0, 0.0))),
    'wide': (PINHOLE, PINHOLE, pose((0.5, 0.0, 0.0), (0.0, -12.0, 25.0))),
}

# Largest errors of rotation and direction in degrees; a wide motion leaves fewer, worse matches.
ALLOWED_DEG = {name: (2.0, 10.0) if name == 'wide' else (0.3, 4.0) for name in MOTIONS}

every_motion = pytest.mark.parametrize('name', MOTIONS)


@cache
def solved(name: str) -> InferenceResult:
    camera_1, camera_2, T_2_1 = MOTIONS[name]
    scene = Scene(WORLD)
    with GeometricEngine() as engine:
        return engine.infer(
            scene.picture(camera_1, np.eye(4)),
            scene.picture(camera_2, T_2_1),
            cameras=(camera_1, camera_2),
        )


def angle_deg(R: NDArray[np.float64]) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(R) - 1.0) / 2.0, -1.0, 1.0))))


@every_motion
def test_motion_is_found_up_to_its_length(name: str) -> None:
    found, truth = solved(name).T_2_1, MOTIONS[name][2]
    assert found is not None
    rotation_deg, direction_deg = ALLOWED_DEG[name]
    assert angle_deg(found[:3, :3] @ truth[:3, :3].T) < rotation_deg
    assert np.linalg.norm(found[:3, 3]) == pytest.approx(1.0)
    way = truth[:3, 3] / np.linalg.norm(truth[:3, 3])
    assert np.degrees(np.arccos(found[:3, 3] @ way)) < direction_deg
    assert solved(name).scale_source is ScaleSource.NONE


@every_motion
def test_depth_is_right_in_baselines(name: str) -> None:
    camera_1, _, T_2_1 = MOTIONS[name]
    points, conf = solved(name).pts3d_1, solved(name).conf_1
    assert points is not None
    assert conf is not None
    truth = Scene(WORLD).depth(camera_1, np.eye(4)) / np.linalg.norm(T_2_1[:3, 3])
    known = np.isfinite(points[..., 2]) & np.isfinite(truth)
    assert known.mean() > 0.3
    error = np.abs(points[..., 2][known] / truth[known] - 1.0)
    assert np.median(error) < 0.05
    sure = conf[known] >= np.median(conf[known])
    assert np.median(error[sure]) <= 1.05 * np.median(error)


@every_motion
def test_matches_are_real(name: str) -> None:
    camera_1, camera_2, T_2_1 = MOTIONS[name]
    with GeometricEngine() as engine:
        matches = engine.match_result(solved(name))
    depth = Scene(WORLD).depth(camera_1, np.eye(4))
    in_2 = transform(T_2_1, (camera_1.rays * depth[..., None]).reshape(-1, 3)[matches.idx_1])
    miss_px = np.linalg.norm(camera_2.project(in_2) - matches.pts2d_2, axis=1)
    assert len(matches) > 200
    assert np.median(miss_px) < 0.25
    assert np.mean(miss_px > 2.0) < 0.08


def test_second_cloud_lies_in_the_frame_of_camera_1() -> None:
    _, camera_2, T_2_1 = MOTIONS['sideways']
    result = solved('sideways')
    assert result.pts3d_2 is not None
    assert result.T_2_1 is not None
    in_2 = transform(result.T_2_1, result.pts3d_2)
    known = np.isfinite(in_2).all(axis=2)
    truth = Scene(WORLD).depth(camera_2, T_2_1) / np.linalg.norm(T_2_1[:3, 3])
    assert known.mean() > 0.5
    assert np.median(np.abs(in_2[..., 2][known] / truth[known] - 1.0)) < 0.05


def test_without_calibration_the_focal_length_is_guessed_and_said() -> None:
    camera_1, camera_2, T_2_1 = MOTIONS['sideways']
    scene = Scene(WORLD)
    with GeometricEngine() as engine:
        result = engine.infer(scene.picture(camera_1, np.eye(4)), scene.picture(camera_2, T_2_1))
    assert 'focal length is taken as the longer side (320 px)' in result.notes[0]
    assert result.pts3d_1 is not None
    assert result.T_2_1 is not None
    assert np.isfinite(result.pts3d_1).all(axis=2).mean() > 0.3
    assert angle_deg(result.T_2_1[:3, :3] @ T_2_1[:3, :3].T) < 1.5


def test_a_camera_that_only_turns_gives_its_rotation_and_no_depth() -> None:
    T_2_1 = pose((0.0, 0.0, 0.0), (1.0, 5.0, -2.0))
    scene = Scene(WORLD)
    with GeometricEngine() as engine:
        result = engine.infer(
            scene.picture(PINHOLE, np.eye(4)),
            scene.picture(PINHOLE, T_2_1),
            cameras=(PINHOLE, PINHOLE),
        )
    assert result.pts3d_1 is not None
    assert result.conf_1 is not None
    assert not np.isfinite(result.pts3d_1).any()
    assert (result.conf_1 == 1.0).all()
    assert 'turned at most' in result.notes[0]
    assert result.T_2_1 is not None
    assert angle_deg(result.T_2_1[:3, :3] @ T_2_1[:3, :3].T) < 0.1
    np.testing.assert_array_equal(result.T_2_1[:3, 3], 0.0)
    assert result.warp_1_2 is not None
    assert np.isfinite(result.warp_1_2).all(axis=2).mean() > 0.5


def test_a_thing_that_moves_by_itself_gets_matches_but_no_depth() -> None:
    scene, other = Scene(WORLD), Scene((Plane((0.0, 0.0, 1.0), 1.0),), seed=7)
    T_2_1 = pose((0.15, 0.0, 0.0))
    image_1, image_2 = scene.picture(PINHOLE, np.eye(4)), scene.picture(PINHOLE, T_2_1)
    thing = other.picture(PINHOLE, np.eye(4))[80:160, 100:200]
    image_1[60:140, 100:200], image_2[72:152, 92:192] = thing, thing  # 12 px down: off its line
    with GeometricEngine() as engine:
        result = engine.infer(image_1, image_2, cameras=(PINHOLE, PINHOLE))
    inside = np.s_[75:125, 115:185]
    assert result.pts3d_1 is not None
    assert result.warp_1_2 is not None
    assert result.T_2_1 is not None
    assert angle_deg(result.T_2_1[:3, :3]) < 0.3
    assert np.isfinite(result.warp_1_2[inside]).all(axis=2).mean() > 0.8
    assert np.isfinite(result.pts3d_1[inside]).all(axis=2).mean() < 0.1


def test_known_pose_is_used_where_the_pair_cannot_be_rectified() -> None:
    camera_1, camera_2, T_2_1 = MOTIONS['forward']
    scene = Scene(WORLD)
    with GeometricEngine() as engine:
        result = engine.infer(
            scene.picture(camera_1, np.eye(4)),
            scene.picture(camera_2, T_2_1),
            cameras=(camera_1, camera_2, T_2_1),
            outputs=Output.CLOUD_1,
        )
    assert result.scale_source is ScaleSource.STEREO_BASELINE
    np.testing.assert_array_equal(result.T_2_1, T_2_1)
    assert 'motion' not in result.timing_ms
    truth = scene.depth(camera_1, np.eye(4))
    assert result.pts3d_1 is not None
    known = np.isfinite(result.pts3d_1[..., 2])
    assert np.median(np.abs(result.pts3d_1[..., 2][known] / truth[known] - 1.0)) < 0.03


def test_same_frames_give_the_same_bytes() -> None:
    camera_1, camera_2, T_2_1 = MOTIONS['wide']
    scene = Scene(WORLD)
    with GeometricEngine() as engine:
        again = engine.infer(
            scene.picture(camera_1, np.eye(4)),
            scene.picture(camera_2, T_2_1),
            cameras=(camera_1, camera_2),
        )
    np.testing.assert_array_equal(again.T_2_1, solved('wide').T_2_1)
    np.testing.assert_array_equal(again.pts3d_1, solved('wide').pts3d_1)
    np.testing.assert_array_equal(again.warp_1_2, solved('wide').warp_1_2)


@given(
    seed=st.integers(0, 2**32 - 1),
    angles=st.tuples(*[st.floats(-20.0, 20.0)] * 3),
    way=st.tuples(*[st.floats(-1.0, 1.0)] * 3).filter(lambda t: np.linalg.norm(t) > 0.3),
    wrong_share=st.floats(0.0, 0.4),
)
def test_any_motion_is_found_among_wrong_matches(
    seed: int,
    angles: tuple[float, float, float],
    way: tuple[float, float, float],
    wrong_share: float,
) -> None:
    rng = np.random.default_rng(seed)
    T_2_1 = pose(way, angles)
    points = rng.uniform((-2.0, -2.0, 3.0), (2.0, 2.0, 9.0), (400, 3))
    in_2 = transform(T_2_1, points)
    rays_1, rays_2 = points / points[:, 2:], in_2 / in_2[:, 2:]
    rays_2[:, :2] += rng.normal(0.0, 0.1 / 500.0, (400, 2))
    wrong = rng.random(400) < wrong_share
    rays_2[wrong, :2] = rng.uniform(-0.6, 0.6, (int(wrong.sum()), 2))
    found = find_relative_pose(rays_1, rays_2, 500.0)
    assert found is not None
    assert angle_deg(found.R @ T_2_1[:3, :3].T) < 0.5
    assert found.t @ T_2_1[:3, 3] > 0.99 * np.linalg.norm(T_2_1[:3, 3])
    assert found.inliers[~wrong].mean() > 0.9
