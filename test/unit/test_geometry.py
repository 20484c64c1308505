# SPDX-License-Identifier: Apache-2.0
"""Two-view geometry is exact where its input is."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene import Scene, stereo_shots

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.geometry import (
    cloud_from_warp,
    put_on_rays,
    transform,
    triangulate,
    weighted_median,
)
from mast3r_ros.core.poses import rotation_pose


def some_pose(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    T = rotation_pose(cv2.Rodrigues(rng.uniform(-0.3, 0.3, 3))[0])
    T[:3, 3] = rng.uniform(-0.5, 0.5, 3)
    return T


def some_points(count: int = 50, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform((-1, -1, 2), (1, 1, 6), (count, 3))


def test_a_transform_and_its_inverse_undo_one_another_at_any_shape() -> None:
    points = some_points(24).reshape(4, 6, 3)
    T = some_pose()
    back = transform(np.linalg.inv(T), transform(T, points))
    np.testing.assert_allclose(back, points, atol=1e-12)


def test_a_transform_turns_first_and_moves_then() -> None:
    T = rotation_pose(np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]]))
    T[:3, 3] = (10.0, 0.0, 0.0)
    np.testing.assert_allclose(transform(T, np.array([1.0, 0.0, 0.0])), [10.0, 1.0, 0.0])


@given(st.integers(0, 2**32))
def test_rays_that_meet_are_triangulated_exactly_whatever_their_length(seed: int) -> None:
    points, T_2_1 = some_points(seed=seed), some_pose(seed)
    lengths = np.random.default_rng(seed).uniform(0.1, 9.0, (2, 50, 1))
    rays_1, rays_2 = points * lengths[0], transform(T_2_1, points) * lengths[1]
    np.testing.assert_allclose(triangulate(rays_1, rays_2, T_2_1), points, rtol=1e-6, atol=1e-6)


def test_rays_that_miss_are_triangulated_half_way_between() -> None:
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = -1.0  # camera 2 stands 1 m to the right
    ray_1, ray_2 = np.array([[0.0, 0.1, 1.0]]), np.array([[-0.5, -0.1, 1.0]])
    point = triangulate(ray_1, ray_2, T_2_1)[0]
    feet = []
    for ray, center in ((ray_1[0], np.zeros(3)), (ray_2[0], np.array([1.0, 0, 0]))):
        direction = ray / np.linalg.norm(ray)
        feet.append(center + direction * ((point - center) @ direction))
    np.testing.assert_allclose((feet[0] + feet[1]) / 2, point, atol=1e-12)
    gap = feet[0] - feet[1]
    np.testing.assert_allclose([gap @ ray_1[0], gap @ ray_2[0]], 0.0, atol=1e-12)


def test_parallel_rays_meet_nowhere() -> None:
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = -0.1
    rays = np.array([[0.2, 0.1, 1.0], [0.0, 0.0, 1.0]])
    assert np.isnan(triangulate(rays, rays, T_2_1)).all()


def test_no_rays_give_no_points() -> None:
    assert triangulate(np.empty((0, 3)), np.empty((0, 3)), some_pose()).shape == (0, 3)


@pytest.mark.parametrize('distortion', [(), (-0.2, 0.05, 0.001, -0.001)])
def test_points_put_on_rays_project_onto_their_own_pixels_and_keep_their_depth(
    distortion: tuple[float, ...],
) -> None:
    camera = Camera.pinhole(32, 24, 30.0, 31.0, 15.2, 11.7, distortion)
    cloud = np.random.default_rng(0).uniform((-3, -3, 0.5), (3, 3, 9), (24, 32, 3))
    placed = put_on_rays(cloud.astype(np.float32), camera)
    u, v = np.meshgrid(np.arange(32), np.arange(24))
    expected = np.stack([u, v], -1).reshape(-1, 2)
    np.testing.assert_allclose(camera.project(placed.reshape(-1, 3)), expected, atol=1e-3)
    np.testing.assert_array_equal(placed[..., 2], cloud[..., 2].astype(np.float32))
    assert placed.dtype == np.float32


def test_points_without_a_depth_in_front_of_the_camera_become_nan() -> None:
    camera = Camera.pinhole(3, 1, 30.0, 30.0, 1.0, 0.0)
    cloud = np.array([[[0, 0, -1], [0, 0, 0], [0, 0, np.nan]]], np.float32)
    assert np.isnan(put_on_rays(cloud, camera)).all()


def test_a_true_warp_and_the_cameras_amount_to_the_true_cloud() -> None:
    scene = Scene()
    left, right = stereo_shots(scene, width=48, height=36)
    u, v = np.meshgrid(np.arange(48), np.arange(36))
    pixels = np.stack([u, v], -1).reshape(-1, 2)
    warp = scene.true_match(left, pixels, right).reshape(36, 48, 2).astype(np.float32)
    warp[0, 0] = np.nan
    T_2_1 = right.T_camera_world @ np.linalg.inv(left.T_camera_world)
    cloud = cloud_from_warp(warp, left.camera, right.camera, T_2_1)
    assert cloud.shape == (36, 48, 3)
    assert cloud.dtype == np.float32
    assert np.isnan(cloud[0, 0]).all()
    error = np.abs(cloud[..., 2] - left.depth)
    assert np.isnan(error).sum() == 1
    assert np.nanmax(error) < 1e-3


def test_a_warp_that_puts_points_behind_the_camera_gives_none_there() -> None:
    camera = Camera.pinhole(4, 1, 30.0, 30.0, 1.5, 0.0)
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = -0.1
    warp = np.array([[[1.0, 0], [2.0, 0], [0.0, 0], [9.0, 0]]], np.float32)
    cloud = cloud_from_warp(warp, camera, camera, T_2_1)
    np.testing.assert_array_equal(np.isfinite(cloud[0, :, 2]), [False, False, True, False])


def test_half_of_the_weight_lies_on_either_side_of_a_weighted_median() -> None:
    assert weighted_median(np.array([3.0, 1.0, 2.0]), np.ones(3)) == 2.0
    assert weighted_median(np.array([1.0, 2.0, 3.0]), np.array([0.1, 0.1, 9.0])) == 3.0
    assert weighted_median(np.array([5.0]), np.array([0.5])) == 5.0


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(1, 9)), min_size=1, max_size=40))
def test_whole_weights_count_like_repeated_values(entries: list[tuple[int, int]]) -> None:
    values, weights = (np.array(column, float) for column in zip(*entries, strict=True))
    repeated = np.sort(np.repeat(values, weights.astype(int)))
    low, high = repeated[(len(repeated) - 1) // 2], repeated[len(repeated) // 2]
    assert weighted_median(values, weights) in (low, high)
