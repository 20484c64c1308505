# SPDX-License-Identifier: Apache-2.0
"""What the oracle engine knows of one view: depth, camera and place, on the engine's pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.engine import Features
from mast3r_ros.core.geometry import transform
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import Grid, ImageArray

Array = NDArray[np.float64]

DESCRIPTOR_SIZE = 24
_WAVELENGTHS_M = np.geomspace(0.4, 6.0, DESCRIPTOR_SIZE // 2)  # coarse ones tell places apart
_SAME_SURFACE = 0.05  # relative difference of depth below which two pixels show the same thing


@dataclass(frozen=True, eq=False)
class Truth:
    """What is known of one picture, at its own size."""

    digest: bytes
    depth: Array
    camera: Camera
    T_camera_world: Array


class OracleFeatures(Features):
    """The truth of one view on its grid."""

    def __init__(self, grid: Grid, key: str, truth: Truth) -> None:
        super().__init__(grid, key)
        self.digest = truth.digest
        self.T_camera_world = truth.T_camera_world
        self.camera = truth.camera.on_grid(grid.scale, grid.offset, grid.width, grid.height)
        self.depth = depth_on_grid(truth.depth, grid)
        self.released = False

    @property
    def nbytes(self) -> int:
        """Memory of the depth map."""
        return int(self.depth.nbytes)

    def global_descriptor(self) -> FloatArray:
        """Return the direction of the mean descriptor of what is seen."""
        world = self.lift(pixels_of(self.grid.width, self.grid.height))
        mean = np.nanmean(fourier_features(world), axis=0)
        return np.asarray(mean / np.linalg.norm(mean), np.float32)

    def release(self) -> None:
        """Make any further use an error."""
        self.released = True

    def sample(self, uv: Array) -> Array:
        """Return the depth at places (N, 2) of the grid; NaN outside."""
        return 1.0 / sampled(1.0 / self.depth, uv)

    def lift(self, uv: Array) -> Array:
        """Return the world points (N, 3) at places (N, 2) of the grid."""
        whole = uv.astype(int)
        if np.array_equal(whole, uv):  # no interpolation where none is needed
            depth = self.depth[whole[:, 1], whole[:, 0]]
        else:
            depth = self.sample(uv)
        T_world_camera = np.linalg.inv(self.T_camera_world)
        return transform(T_world_camera, self.camera.unproject(uv) * depth[:, None])

    def see(self, world: Array) -> Array:
        """Return where (N, 2) world points appear on the grid; NaN where hidden or outside."""
        points = transform(self.T_camera_world, world)
        uv = self.camera.project(points)
        here = self.sample(np.nan_to_num(uv, nan=-9.0))
        with np.errstate(invalid='ignore'):
            hidden = ~(np.abs(here / points[:, 2] - 1.0) < _SAME_SURFACE)
        uv[hidden] = np.nan
        return uv


def digest_of(image: ImageArray) -> bytes:
    """Return what a picture is known by."""
    return hashlib.sha256(repr(image.shape).encode() + image.tobytes()).digest()


def fourier_features(world: Array) -> FloatArray:
    """Return unit descriptors (N, D) of world points: the nearer two points, the more alike."""
    rng = np.random.default_rng(24)
    directions = rng.standard_normal((len(_WAVELENGTHS_M), 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    phase = world @ (2.0 * np.pi * directions / _WAVELENGTHS_M[:, None]).T
    features = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) / np.sqrt(phase.shape[1])
    return features.astype(np.float32)


def pixels_of(width: int, height: int) -> Array:
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([u, v], axis=-1).reshape(-1, 2).astype(np.float64)


def depth_on_grid(depth: Array, grid: Grid) -> Array:
    """Sample a picture's depth at each grid pixel; inverse depth is what is linear on a plane."""
    height, width = depth.shape
    places = grid.to_image(pixels_of(grid.width, grid.height))
    places = np.clip(places, 0.0, (width - 1, height - 1))
    return (1.0 / sampled(1.0 / depth, places)).reshape(grid.height, grid.width)


def sampled(field: Array, uv: Array) -> Array:
    """Return the values of a field (H, W, ...) at places (N, 2), bilinear; NaN outside."""
    height, width = field.shape[:2]
    with np.errstate(invalid='ignore'):
        inside = ((uv >= 0.0) & (uv <= (width - 1, height - 1))).all(axis=1)
    u, v = np.where(inside[:, None], uv, 0.0).T
    column, row = np.minimum(u.astype(int), width - 2), np.minimum(v.astype(int), height - 2)
    extra = (1,) * (field.ndim - 2)
    right, down = (u - column).reshape(-1, *extra), (v - row).reshape(-1, *extra)
    upper = field[row, column] * (1 - right) + field[row, column + 1] * right
    lower = field[row + 1, column] * (1 - right) + field[row + 1, column + 1] * right
    values = upper * (1 - down) + lower * down
    values[~inside] = np.nan
    return np.asarray(values)
