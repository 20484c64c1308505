# SPDX-License-Identifier: Apache-2.0
"""The made-up world is what it says: its pictures, depths and matches agree from everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from scene import Scene, placed, small_camera, stereo_shots, walk

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.geometry import transform


def lifted(shot) -> np.ndarray:
    """Return the world points (H, W, 3) of a shot's own depth."""
    u, v = np.meshgrid(np.arange(shot.camera.width), np.arange(shot.camera.height))
    rays = shot.camera.unproject(np.stack([u, v], -1).reshape(-1, 2))
    points = rays * shot.depth.reshape(-1, 1)
    T_world_camera = np.linalg.inv(shot.T_camera_world)
    return transform(T_world_camera, points).reshape(*shot.depth.shape, 3)


@pytest.mark.parametrize('T', [placed(), placed(0.4, -0.2, 0.5, 12.0), placed(-1, 0.3, -2, -20)])
def test_every_pixel_s_depth_ends_on_the_wall(T: np.ndarray) -> None:
    scene = Scene(3)
    shot = scene.look(small_camera(), T)
    world = lifted(shot)
    assert np.isfinite(shot.depth).all()
    np.testing.assert_allclose(
        scene.height(world[..., 0], world[..., 1]), world[..., 2], atol=1e-9
    )


def test_the_wall_is_uneven_and_the_picture_textured() -> None:
    shot = Scene().look(small_camera())
    assert shot.depth.std() > 0.1
    assert shot.image.reshape(-1, 3).std(axis=0).min() > 25
    assert np.abs(np.diff(shot.image.astype(int), axis=1)).mean() > 5


def test_a_bent_camera_sees_the_same_wall() -> None:
    bent = Camera.pinhole(160, 120, 128.0, 128.0, 79.0, 60.0, (-0.2, 0.05, 0.001, 0.0))
    shot = Scene().look(bent)
    world = lifted(shot)
    np.testing.assert_allclose(Scene().height(*world[..., :2].reshape(-1, 2).T).reshape(120, 160),
                               world[..., 2], atol=1e-4)  # fmt: skip


def test_true_matches_show_the_same_surface() -> None:
    scene = Scene()
    left, right = stereo_shots(scene)
    uv_1 = np.array([[80.0, 60.0], [100.5, 20.25], [150.0, 110.0]])
    uv_2 = scene.true_match(left, uv_1, right)
    seen_1 = scene.surface_at(left.camera, left.T_camera_world, uv_1)
    seen_2 = scene.surface_at(right.camera, right.T_camera_world, uv_2)
    np.testing.assert_allclose(seen_1, seen_2, atol=1e-9)
    np.testing.assert_allclose(uv_1[:, 1], uv_2[:, 1], atol=1e-9)  # a rectified pair
    disparity = left.camera.fx * 0.3 / left.depth[60, 80]
    np.testing.assert_allclose(uv_1[0, 0] - uv_2[0, 0], disparity)


def test_pictures_of_one_seed_are_equal_and_of_others_not() -> None:
    same, again, other = (Scene(seed).look(small_camera()).image for seed in (0, 0, 1))
    np.testing.assert_array_equal(same, again)
    assert (same != other).mean() > 0.9


def test_a_walk_moves() -> None:
    shots = walk(Scene(), 3)
    assert len({shot.image.tobytes() for shot in shots}) == 3
    np.testing.assert_allclose(np.linalg.inv(shots[2].T_camera_world)[:3, 3], [0.1, 0.0, 0.04])
