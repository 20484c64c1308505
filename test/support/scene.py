# SPDX-License-Identifier: Apache-2.0
"""A small made-up world whose depth is known exactly from anywhere: a wavy, colourful wall.

World frame: x right, y down, z forward, metres. The wall is ``z = height(x, y)``, three metres
ahead of the origin, gentle enough that no part of it hides another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.geometry import transform
from mast3r_ros.core.views import ImageArray, View

Array = NDArray[np.float64]

WALL_Z_M = 3.0
_MAX_NEWTON_STEPS = 30


@dataclass(frozen=True, eq=False)
class Shot:
    """What a camera at a known place sees.

    :param depth: (H, W) Z in the camera's frame, metres; NaN where the wall is not met.
    :param T_camera_world: takes points of the world into the camera.
    """

    image: ImageArray
    depth: Array
    camera: Camera
    T_camera_world: Array

    def view(self, *, mask: NDArray[np.generic] | None = None, stamp_ns: int = 0) -> View:
        """Return this shot as a view with its calibration."""
        return View(self.image, self.camera, mask, stamp_ns)


@dataclass(frozen=True)
class Scene:
    """The wall; another ``seed`` gives other waves and other colours."""

    seed: int = 0

    def height(self, x: Array, y: Array) -> Array:
        """Return the wall's z at world x and y."""
        waves = self._waves()
        return WALL_Z_M + sum(a * np.sin(kx * x + ky * y + p) for a, kx, ky, p in waves)

    def color(self, points: Array) -> NDArray[np.uint8]:
        """Return the RGB colour of the wall at world points (N, 3)."""
        rng = np.random.default_rng([self.seed, 1])
        value = np.full((len(points), 3), 128.0)
        for wavelength_m in (0.15, 0.25, 0.4, 0.7, 1.2, 2.0) * 2:
            direction = rng.uniform(0.0, 2.0 * np.pi)
            k = 2.0 * np.pi / wavelength_m * np.array([np.cos(direction), np.sin(direction)])
            phases = rng.uniform(0.0, 2.0 * np.pi, 3)
            value += 18.0 * np.sin((points[:, :2] @ k)[:, None] + phases)
        return np.clip(np.rint(value), 0, 255).astype(np.uint8)

    def cast(self, center: Array, rays: Array) -> Array:
        """Return where rays (N, 3) from ``center``, world frame, meet the wall; NaN if nowhere."""
        with np.errstate(invalid='ignore', divide='ignore'):
            reach = (WALL_Z_M - center[2]) / rays[:, 2]
            for _ in range(_MAX_NEWTON_STEPS):
                x, y, z = (center + reach[:, None] * rays).T
                slope_x, slope_y = self._slope(x, y)
                gap = z - self.height(x, y)
                if np.nanmax(np.abs(gap), initial=0.0) < 1e-12:
                    break
                reach = reach - gap / (rays[:, 2] - slope_x * rays[:, 0] - slope_y * rays[:, 1])
            points = center + reach[:, None] * rays
            met = (reach > 0.0) & (np.abs(points[:, 2] - self.height(*points[:, :2].T)) < 1e-9)
        return np.where(met[:, None], points, np.nan)

    def look(self, camera: Camera, T_camera_world: ArrayLike | None = None) -> Shot:
        """Take a picture; without a pose, from the world's origin."""
        T = np.eye(4) if T_camera_world is None else np.asarray(T_camera_world, np.float64)
        u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        points = self.surface_at(camera, T, np.stack([u, v], -1).reshape(-1, 2))
        shape = (camera.height, camera.width)
        depth = transform(T, points)[:, 2].reshape(shape)
        image = self.color(np.nan_to_num(points)).reshape(*shape, 3)
        return Shot(image, depth, camera, T)

    def surface_at(self, camera: Camera, T_camera_world: Array, uv: ArrayLike) -> Array:
        """Return the world points (N, 3) that pixels (N, 2) of a camera see."""
        T_world_camera = np.linalg.inv(T_camera_world)
        return self.cast(T_world_camera[:3, 3], camera.unproject(uv) @ T_world_camera[:3, :3].T)

    def true_match(self, shot_1: Shot, uv_1: ArrayLike, shot_2: Shot) -> Array:
        """Return the pixels (N, 2) of shot 2 that show what pixels of shot 1 show."""
        points = self.surface_at(shot_1.camera, shot_1.T_camera_world, uv_1)
        return shot_2.camera.project(transform(shot_2.T_camera_world, points))

    def _waves(self) -> list[tuple[float, float, float, float]]:
        rng = np.random.default_rng([self.seed, 0])
        waves = []
        for amplitude_m, wavelength_m in ((0.30, 4.0), (0.10, 1.7), (0.04, 0.9)):
            direction, phase = rng.uniform(0.0, 2.0 * np.pi, 2)
            k = 2.0 * np.pi / wavelength_m
            waves.append((amplitude_m, k * np.cos(direction), k * np.sin(direction), phase))
        return waves

    def _slope(self, x: Array, y: Array) -> tuple[Array, Array]:
        slope_x, slope_y = np.zeros_like(x), np.zeros_like(y)
        for a, kx, ky, p in self._waves():
            along = a * np.cos(kx * x + ky * y + p)
            slope_x, slope_y = slope_x + kx * along, slope_y + ky * along
        return slope_x, slope_y


def placed(x: float = 0.0, y: float = 0.0, z: float = 0.0, yaw_deg: float = 0.0) -> Array:
    """Return ``T_camera_world`` of a camera at a place in the world, turned about its y axis."""
    yaw = np.deg2rad(yaw_deg)
    T_world_camera = np.eye(4)
    T_world_camera[0, [0, 2]] = np.cos(yaw), np.sin(yaw)
    T_world_camera[2, [0, 2]] = -np.sin(yaw), np.cos(yaw)
    T_world_camera[:3, 3] = x, y, z
    return np.asarray(np.linalg.inv(T_world_camera))


def small_camera(width: int = 160, height: int = 120, baseline_m: float = 0.0) -> Camera:
    """Return a pinhole camera for this scene.

    :param baseline_m: how far right of the stereo pair's left camera it stands.
    """
    focal_px = 0.8 * width
    K = np.array([[focal_px, 0.0, width / 2 - 1.3], [0.0, focal_px, height / 2 + 0.7], [0, 0, 1]])
    P = np.hstack([K, [[-focal_px * baseline_m], [0.0], [0.0]]])
    return Camera(width, height, K, R=np.eye(3), P=P)


def stereo_shots(
    scene: Scene, baseline_m: float = 0.3, width: int = 160, height: int = 120
) -> tuple[Shot, Shot]:
    """Return what a calibrated stereo pair at the origin sees."""
    left = scene.look(small_camera(width, height))
    right = scene.look(small_camera(width, height, baseline_m), placed(baseline_m))
    return left, right


def walk(scene: Scene, frames: int, step_m: float = 0.05, width: int = 160) -> list[Shot]:
    """Return what one camera sees that walks sideways and turns a little."""
    camera = small_camera(width, width * 3 // 4)
    return [scene.look(camera, placed(step_m * n, 0.0, 0.02 * n, 0.5 * n)) for n in range(frames)]
