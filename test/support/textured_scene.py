# SPDX-License-Identifier: Apache-2.0
"""Pictures of textured planes with exact depth, from any camera: truth for geometric tests.

The texture is a sum of waves in space, evaluated where each pixel's ray meets a plane, so that
nothing is interpolated and every camera, distorted or turned, sees the very same surface.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera

_WAVES = 60
_OVERSAMPLING = 2  # rays a pixel and side


@dataclass(frozen=True)
class Plane:
    """The points X with ``normal @ X = distance``, in the world frame and in metres.

    :param bounds: x and y ranges it covers (x_low, x_high, y_low, y_high); None: everywhere.
    """

    normal: tuple[float, float, float]
    distance: float
    bounds: tuple[float, float, float, float] | None = None


SLANTED = (Plane((0.25, -0.15, 1.0), 2.0),)
STEPS = (
    Plane((0.0, 0.0, 1.0), 3.0),
    Plane((0.1, 0.0, 1.0), 2.0, (-0.5, 0.4, -0.4, 0.5)),
)


@dataclass(frozen=True, eq=False)
class Scene:
    """Planes with one texture through all space.

    :param shortest_m: shortest wavelength of the texture; the longest is 16 times as long.
    """

    planes: tuple[Plane, ...] = SLANTED
    shortest_m: float = 0.04
    contrast: float = 1.0
    seed: int = 0

    def picture(self, camera: Camera, T_camera_world: NDArray[np.float64]) -> NDArray[np.uint8]:
        """Return what a camera sees, uint8 RGB."""
        steps = (np.arange(_OVERSAMPLING) + 0.5) / _OVERSAMPLING - 0.5
        total = np.zeros((camera.height, camera.width))
        for dv in steps:
            for du in steps:
                _, points = self._meet(camera, T_camera_world, (du, dv))
                total += self._texture(points)
        gray = 127.5 + 50.0 * self.contrast * total / _OVERSAMPLING**2
        gray = np.clip(np.rint(np.nan_to_num(gray)), 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)

    def depth(self, camera: Camera, T_camera_world: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the true depth (H, W) along the optical axis; NaN where there is nothing."""
        return self._meet(camera, T_camera_world, (0.0, 0.0))[0]

    def _meet(
        self, camera: Camera, T_camera_world: NDArray[np.float64], offset_px: tuple[float, float]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return depth (H, W) and world points (H, W, 3) of the nearest plane on each ray."""
        u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        pixels = np.stack([u, v], axis=-1).reshape(-1, 2) + offset_px
        T_world_camera = np.linalg.inv(T_camera_world)
        rays = camera.unproject(pixels) @ T_world_camera[:3, :3].T
        center = T_world_camera[:3, 3]
        depth = np.full(len(rays), np.inf)
        for plane in self.planes:
            normal = np.array(plane.normal)
            with np.errstate(divide='ignore', invalid='ignore'):
                reach = (plane.distance - center @ normal) / (rays @ normal)
                x, y, _ = (center + rays * reach[:, None]).T
            hit = reach > 0.0
            if plane.bounds is not None:
                x_low, x_high, y_low, y_high = plane.bounds
                hit &= (x >= x_low) & (x <= x_high) & (y >= y_low) & (y <= y_high)
            depth = np.where(hit & (reach < depth), reach, depth)
        depth[np.isinf(depth)] = np.nan
        shape = camera.height, camera.width
        return depth.reshape(shape), (center + rays * depth[:, None]).reshape(*shape, 3)

    def _texture(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the brightness at points in space, about -2 to 2."""
        rng = np.random.default_rng(self.seed)
        wavelengths = self.shortest_m * 16.0 ** rng.random(_WAVES)
        directions = rng.normal(size=(_WAVES, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        phases = rng.random(_WAVES) * 2.0 * np.pi
        total = np.zeros(points.shape[:-1])
        for wavelength, direction, phase in zip(wavelengths, directions, phases, strict=True):
            total += np.cos(points @ (direction * 2.0 * np.pi / wavelength) + phase)
        return total * np.sqrt(2.0 / _WAVES)


def pose(
    center: tuple[float, float, float], angles_deg: tuple[float, float, float] = (0.0, 0.0, 0.0)
) -> NDArray[np.float64]:
    """Return ``T_camera_world`` of a camera at ``center``, turned about x, then y, then z."""
    R = np.eye(3)
    for axis, angle in enumerate(np.radians(angles_deg)):
        c, s = np.cos(angle), np.sin(angle)
        turn = np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        turn[[i, j], [i, j]], turn[i, j], turn[j, i] = c, -s, s
        R = turn @ R
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R.T, -R.T @ np.array(center)
    return T
