# SPDX-License-Identifier: Apache-2.0
"""Calibrated stereo against exact truth: planes seen by pairs of every arrangement."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from support.textured_scene import SLANTED, STEPS, Plane, Scene, pose

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.geometry import transform
from mast3r_ros.core.results import InferenceResult, Output, ScaleSource
from mast3r_ros.engines.geometric.engine import GeometricEngine

WIDTH, HEIGHT = 320, 240
LENS = (-0.28, 0.07, 0.0002, -0.0001, 0.0)

PINHOLE = Camera.pinhole(WIDTH, HEIGHT, 300, 300, 159.5, 119.5)
BENT = Camera.pinhole(WIDTH, HEIGHT, 300, 300, 158.0, 121.0, LENS)
SHIFTED = Camera.pinhole(WIDTH, HEIGHT, 300, 300, 174.5, 119.5)
LARGER = Camera.pinhole(400, 300, 380, 380, 199.5, 149.5)
FISHEYE = Camera(
    WIDTH,
    HEIGHT,
    np.array([[200.0, 0.0, 160.0], [0.0, 200.0, 120.0], [0.0, 0.0, 1.0]]),
    (0.01, -0.005, 0.002, -0.001),
    'equidistant',
)

# Where camera 2 stands, in metres and degrees; camera 1 is the world.
ARRANGEMENTS = {
    'right': (PINHOLE, PINHOLE, pose((0.1, 0.0, 0.0))),
    'left': (PINHOLE, PINHOLE, pose((-0.1, 0.0, 0.0))),
    'below': (PINHOLE, PINHOLE, pose((0.0, 0.1, 0.0))),
    'above': (PINHOLE, PINHOLE, pose((0.0, -0.1, 0.0))),
    'diagonal': (PINHOLE, PINHOLE, pose((0.08, 0.07, 0.0))),
    'rotated': (PINHOLE, PINHOLE, pose((0.1, 0.01, 0.02), (2.0, -4.0, 3.0))),
    'view 2 upside down': (PINHOLE, PINHOLE, pose((0.1, 0.0, 0.0), (0.0, 0.0, 180.0))),
    'view 2 on its side': (PINHOLE, PINHOLE, pose((0.1, 0.0, 0.0), (0.0, 0.0, 90.0))),
    'principal point shifted': (PINHOLE, SHIFTED, pose((0.1, 0.0, 0.0))),
    'larger view 2': (PINHOLE, LARGER, pose((0.1, 0.0, 0.0), (0.0, -2.0, 0.0))),
    'distorted': (BENT, BENT, pose((0.1, 0.0, 0.003), (0.5, -1.0, 0.7))),
    'distorted left': (BENT, BENT, pose((-0.1, 0.0, 0.003), (0.5, -1.0, 0.7))),
    'distorted below': (BENT, BENT, pose((0.0, 0.1, 0.003), (0.5, -1.0, 0.7))),
    'fisheye': (FISHEYE, FISHEYE, pose((0.1, 0.0, 0.0))),
    'one before the other': (PINHOLE, PINHOLE, pose((0.02, 0.0, 0.3))),
}


@dataclass(frozen=True, eq=False, repr=False)
class Solved:
    """The engine's answer beside the truth; arrays on view 1's pixels."""

    result: InferenceResult
    camera_1: Camera
    camera_2: Camera
    T_2_1: NDArray[np.float64]
    depth: NDArray[np.float64]
    depth_2: NDArray[np.float64]
    warp: NDArray[np.float64]
    in_both: NDArray[np.bool_]  # pixels whose true match lies inside view 2

    @property
    def depth_error(self) -> NDArray[np.float64]:
        """Relative, of all pixels that have a depth and a true match."""
        assert self.result.pts3d_1 is not None
        found = self.result.pts3d_1[..., 2]
        known = np.isfinite(found) & self.in_both
        return np.abs(found[known] / self.depth[known] - 1.0)

    @property
    def kept(self) -> float:
        assert self.result.pts3d_1 is not None
        return float(np.isfinite(self.result.pts3d_1[self.in_both]).all(axis=1).mean())


@cache
def solved(name: str, planes: tuple[Plane, ...] = SLANTED) -> Solved:
    camera_1, camera_2, T_2_1 = ARRANGEMENTS[name]
    scene = Scene(planes)
    with GeometricEngine() as engine:
        result = engine.infer(
            scene.picture(camera_1, np.eye(4)),
            scene.picture(camera_2, T_2_1),
            cameras=(camera_1, camera_2, T_2_1),
        )
    depth = scene.depth(camera_1, np.eye(4))
    in_2 = transform(T_2_1, camera_1.rays * depth[..., None])
    warp = camera_2.project(in_2).reshape(HEIGHT, WIDTH, 2)
    in_both = ((warp >= 0) & (warp <= [camera_2.width - 1, camera_2.height - 1])).all(axis=2)
    depth_2 = scene.depth(camera_2, T_2_1)
    return Solved(result, camera_1, camera_2, T_2_1, depth, depth_2, warp, in_both)


every_arrangement = pytest.mark.parametrize('name', ARRANGEMENTS)


@every_arrangement
def test_depth_is_metric_and_right(name: str) -> None:
    case = solved(name)
    assert case.result.scale_source is ScaleSource.STEREO_BASELINE
    assert case.result.notes == ()
    assert case.kept > 0.93
    assert np.median(case.depth_error) < 0.006
    assert np.percentile(case.depth_error, 95) < 0.03


@every_arrangement
def test_points_lie_on_their_pixels(name: str) -> None:
    case = solved(name)
    points = case.result.pts3d_1
    assert points is not None
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    pixels = case.camera_1.project(points.reshape(-1, 3)).reshape(HEIGHT, WIDTH, 2)
    found = np.isfinite(points).all(axis=2)
    assert np.abs(pixels - np.stack([u, v], axis=-1))[found].max() < 0.01


@every_arrangement
def test_warp_lands_where_the_truth_says(name: str) -> None:
    case = solved(name)
    warp = case.result.warp_1_2
    assert warp is not None
    known = np.isfinite(warp).all(axis=2) & case.in_both
    assert known.mean() > 0.9 * case.in_both.mean()
    miss_px = np.linalg.norm(warp - case.warp, axis=2)[known]
    assert np.median(miss_px) < 0.15
    assert np.percentile(miss_px, 95) < 0.5


@every_arrangement
def test_warp_back_returns(name: str) -> None:
    case = solved(name)
    with GeometricEngine() as engine:
        matches = engine.match_result(case.result)
    assert len(matches) > 500
    truth = case.warp.reshape(-1, 2)[matches.idx_1]
    assert np.median(np.linalg.norm(matches.pts2d_2 - truth, axis=1)) < 0.15


@every_arrangement
def test_second_cloud_lies_in_the_frame_of_camera_1(name: str) -> None:
    case = solved(name)
    points = case.result.pts3d_2
    assert points is not None
    assert case.result.conf_2 is not None
    in_2 = transform(case.T_2_1, points)
    known = np.isfinite(in_2).all(axis=2)
    assert known.mean() > 0.7
    assert np.median(np.abs(in_2[..., 2][known] / case.depth_2[known] - 1.0)) < 0.01
    u, v = np.meshgrid(np.arange(case.camera_2.width), np.arange(case.camera_2.height))
    pixels = case.camera_2.project(in_2.reshape(-1, 3)).reshape(*u.shape, 2)
    assert np.abs(pixels - np.stack([u, v], axis=-1))[known].max() < 0.05


@pytest.mark.parametrize('name', ['right', 'left', 'below', 'rotated', 'distorted'])
def test_steps_keep_their_edges(name: str) -> None:
    case = solved(name, STEPS)
    assert case.kept > 0.93
    assert np.median(case.depth_error) < 0.01
    assert np.mean(case.depth_error > 0.1) < 0.03


@pytest.mark.parametrize('name', ['right', 'distorted'])
def test_confident_points_are_the_better_ones(name: str) -> None:
    case = solved(name, STEPS)
    points, conf = case.result.pts3d_1, case.result.conf_1
    assert points is not None
    assert conf is not None
    known = np.isfinite(points[..., 2]) & case.in_both
    wrong = np.abs(points[..., 2][known] / case.depth[known] - 1.0) > 0.05
    order = np.argsort(-conf[known], kind='stable')
    half = len(order) // 2
    assert wrong[order[:half]].sum() < 0.35 * wrong[order[half:]].sum()
    assert conf.min() == 1.0
    assert (conf[~np.isfinite(points[..., 2])] == 1.0).all()


@pytest.mark.parametrize('name', ['right', 'distorted', 'one before the other'])
def test_cloud_is_the_same_whatever_else_is_asked(name: str) -> None:
    camera_1, camera_2, T_2_1 = ARRANGEMENTS[name]
    scene = Scene()
    pictures = scene.picture(camera_1, np.eye(4)), scene.picture(camera_2, T_2_1)
    with GeometricEngine() as engine:
        alone = engine.infer(
            *pictures, cameras=(camera_1, camera_2, T_2_1), outputs=Output.CLOUD_1
        )
    everything = solved(name).result
    np.testing.assert_array_equal(alone.pts3d_1, everything.pts3d_1)
    np.testing.assert_array_equal(alone.conf_1, everything.conf_1)
    assert alone.pts3d_2 is alone.conf_2 is None
    assert alone.warp_1_2 is alone.warp_2_1 is alone.warp_conf_1 is None
    assert everything.desc_1 is None


@pytest.mark.parametrize('name', ['right', 'distorted', 'one before the other'])
def test_answer_does_not_depend_on_the_number_of_threads(name: str) -> None:
    camera_1, camera_2, T_2_1 = ARRANGEMENTS[name]
    scene = Scene()
    pictures = scene.picture(camera_1, np.eye(4)), scene.picture(camera_2, T_2_1)
    before = cv2.getNumThreads()
    try:
        for threads in (1, 3):
            cv2.setNumThreads(threads)
            with GeometricEngine() as engine:
                result = engine.infer(*pictures, cameras=(camera_1, camera_2, T_2_1))
            np.testing.assert_array_equal(result.pts3d_1, solved(name).result.pts3d_1)
            np.testing.assert_array_equal(result.warp_2_1, solved(name).result.warp_2_1)
    finally:
        cv2.setNumThreads(before)


def test_a_mask_leaves_the_computation_as_it_is() -> None:
    camera_1, camera_2, T_2_1 = ARRANGEMENTS['right']
    scene = Scene()
    mask = np.ones((HEIGHT, WIDTH), bool)
    mask[:, : WIDTH // 2] = False
    with GeometricEngine() as engine:
        result = engine.infer(
            scene.picture(camera_1, np.eye(4)),
            scene.picture(camera_2, T_2_1),
            cameras=(camera_1, camera_2, T_2_1),
            masks=(mask, None),
        )
        matches = engine.match_result(result)
    np.testing.assert_array_equal(result.pts3d_1, solved('right').result.pts3d_1)
    assert len(matches) > 200
    assert matches.pts2d_1[:, 0].min() >= WIDTH // 2


def test_brightness_and_contrast_of_view_2_do_not_matter() -> None:
    camera_1, camera_2, T_2_1 = ARRANGEMENTS['right']
    scene = Scene()
    darker = (scene.picture(camera_2, T_2_1) * 0.8 + 8.0).astype(np.uint8)
    with GeometricEngine() as engine:
        result = engine.infer(
            scene.picture(camera_1, np.eye(4)), darker, cameras=(camera_1, camera_2, T_2_1)
        )
    assert result.pts3d_1 is not None
    known = np.isfinite(result.pts3d_1[..., 2]) & solved('right').in_both
    assert known.mean() > 0.85
    error = result.pts3d_1[..., 2][known] / solved('right').depth[known] - 1.0
    assert np.median(np.abs(error)) < 0.01


@pytest.mark.parametrize('distance_m', [0.35, 30.0])
def test_near_and_far_walls_are_found(distance_m: float) -> None:
    camera_1, camera_2, T_2_1 = ARRANGEMENTS['right']
    scene = Scene((Plane((0.0, 0.0, 1.0), distance_m),), shortest_m=0.02 * distance_m)
    with GeometricEngine() as engine:
        result = engine.infer(
            scene.picture(camera_1, np.eye(4)),
            scene.picture(camera_2, T_2_1),
            cameras=(camera_1, camera_2, T_2_1),
            outputs=Output.CLOUD_1,
        )
    assert result.pts3d_1 is not None
    assert np.isfinite(result.pts3d_1[:, 120:, 2]).mean() > 0.9
    assert np.nanmedian(result.pts3d_1[..., 2]) == pytest.approx(distance_m, rel=0.03)


def test_a_small_thing_in_front_is_not_missed() -> None:
    camera_1, camera_2, T_2_1 = ARRANGEMENTS['right']
    thing = Plane((0.0, 0.0, 1.0), 0.6, (-0.04, 0.04, -0.04, 0.04))  # 40 x 40 pixels
    scene = Scene((Plane((0.0, 0.0, 1.0), 4.0), thing), shortest_m=0.02)
    with GeometricEngine() as engine:
        result = engine.infer(
            scene.picture(camera_1, np.eye(4)),
            scene.picture(camera_2, T_2_1),
            cameras=(camera_1, camera_2, T_2_1),
            outputs=Output.CLOUD_1,
        )
    assert result.pts3d_1 is not None
    inside = result.pts3d_1[105:135, 145:175, 2]
    assert np.isfinite(inside).mean() > 0.9
    assert np.nanmedian(inside) == pytest.approx(0.6, rel=0.02)
    assert np.nanmedian(result.pts3d_1[:60, 60:, 2]) == pytest.approx(4.0, rel=0.03)
