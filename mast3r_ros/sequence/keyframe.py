# SPDX-License-Identifier: Apache-2.0
"""A view that later ones are followed against: its place, and its depth as known so far."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.results import FloatArray, ScaleSource
from mast3r_ros.core.views import Grid, ImageArray, MaskArray, View

ColoredPoints = tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]
"""Points (N, 3), colours (N, 3) and confidence (N,)."""

_AGREES = 0.1  # relative difference of two depths of one pixel at which trust is halved
_THINNED_POINTS = 8000  # of a keyframe that was let go


@dataclass(eq=False)
class Keyframe:
    """One view with depth on its grid.

    Depth is in the keyframe's own unit; ``scale`` turns it into the world's.

    :param number: counts from 0.
    :param camera: calibration on the pixels of the picture.
    :param depth: (H, W) Z on ``grid``; NaN where there is none.
    :param weight: (H, W) confidence gathered so far; 0 is none.
    :param T_world_camera: a rigid pose in the world.
    :param view: the picture as an engine takes it; None once it was let go.
    :param dynamic: (H, W) True where something moves by itself: there is no depth.
    :param opinions: how many depth maps went into this one.
    :param thinned: what is left of the cloud of one that was let go.
    :param covariance: (6, 6) of the pose when it was added, as in covariance.py.
    :param is_calibrated: whether ``camera`` was given or is settled; else it may still change.
    :param slopes: (H, W, 2) x/z and y/z of the points themselves, while nobody knows whether
        ``camera`` is right; None where the calibration counts.
    """

    number: int
    view: View | None
    camera: Camera
    grid: Grid
    depth: FloatArray
    weight: FloatArray
    T_world_camera: Matrix
    descriptor: FloatArray
    scale: float = 1.0
    scale_source: ScaleSource = ScaleSource.NONE
    stamp_ns: int = 0
    dynamic: MaskArray | None = None
    opinions: int = 1
    thinned: ColoredPoints | None = None
    covariance: Matrix = field(default_factory=lambda: np.zeros((6, 6)))
    is_calibrated: bool = True
    slopes: FloatArray | None = None

    @property
    def has_depth(self) -> bool:
        """Whether enough of the depth is known to follow against."""
        return bool(np.isfinite(self.depth).mean() > 0.02)

    @property
    def typical_depth(self) -> float:
        """Median of the depth, 1 where there is none."""
        known = self.depth[np.isfinite(self.depth)]
        return float(np.median(known)) if len(known) else 1.0

    @property
    def image(self) -> ImageArray:
        """The picture on the grid."""
        return self.grid.image

    @property
    def grid_camera(self) -> Camera:
        """The calibration on the grid's pixels."""
        return self.camera.on_grid(
            self.grid.scale, self.grid.offset, self.grid.width, self.grid.height
        )

    @property
    def goes_by_points(self) -> bool:
        """Whether frames are placed by the directions of its points, not by its camera."""
        return self.slopes is not None and self.has_depth

    @property
    def rays(self) -> FloatArray:
        """The direction (H, W, 3) of each grid pixel, z = 1."""
        if self.slopes is None or not self.has_depth:
            return self.grid_camera.rays
        return np.concatenate([self.slopes, np.ones_like(self.slopes[..., :1])], axis=2)

    @property
    def points(self) -> FloatArray:
        """The points (H, W, 3) in this keyframe's frame and unit; NaN where there is none."""
        return np.asarray(self.rays * self.depth[..., None], np.float32)

    def let_go(self, confidence: float = 1.0) -> None:
        """Free picture and depth; the pose and a thinned cloud stay.

        :param confidence: points below it are not in the cloud.
        """
        points, colors, trust = self.cloud(confidence)
        every = slice(None, None, max(1, -(-len(points) // _THINNED_POINTS)))
        self.thinned = points[every].copy(), colors[every].copy(), trust[every].copy()
        self.view = self.dynamic = None
        self.grid = Grid(np.zeros((1, 1, 3), np.uint8))
        self.depth = np.full((1, 1), np.nan, np.float32)
        self.weight = np.zeros((1, 1), np.float32)
        self.slopes = None

    def cloud(self, confidence: float = 1.0) -> ColoredPoints:
        """Return points in this keyframe's frame and unit, colours, and confidence from 1 up.

        :param confidence: points below it are left out.
        """
        if self.thinned is not None:
            return self.thinned
        trust = np.float32(1.0) + self.weight / np.float32(self.opinions)
        kept = np.isfinite(self.depth) & (trust >= confidence) & (self.weight > 0.0)
        points = self.rays[kept] * self.depth[kept][:, None]
        return points.astype(np.float32), self.grid.image[kept], trust[kept]

    def hide(self, dynamic: MaskArray | None) -> None:
        """Take the depth away where something moves by itself."""
        if dynamic is not None and dynamic.any():
            self.dynamic = dynamic
            self.depth = np.where(dynamic, np.float32(np.nan), self.depth)
            self.weight = np.where(dynamic, np.float32(0.0), self.weight)

    def depth_at(self, uv: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the depth (N,) at pixels (N, 2) of the picture."""
        return sample_depth(self.depth, self.grid, uv)

    def rays_at(self, uv: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the directions (N, 3), z = 1, of pixels (N, 2) of the picture."""
        if self.slopes is None or not self.has_depth:
            return np.asarray(self.camera.unproject(uv), np.float64)
        return sample_rays(self.slopes, self.grid, uv)

    def begin_depth(self, grid: Grid) -> None:
        """Lay the depth, none of which is known, on another grid of the same picture."""
        shape = grid.height, grid.width
        self.grid = grid
        self.depth = np.full(shape, np.nan, np.float32)
        self.weight = np.zeros(shape, np.float32)
        if self.slopes is not None:
            self.slopes = np.full((*shape, 2), np.nan, np.float32)

    def fuse(
        self, depth: FloatArray, weight: FloatArray, slopes: FloatArray | None = None
    ) -> None:
        """Take in another opinion on the depth, in this keyframe's unit.

        What contradicts what is known counts little, unless it is much surer.

        :param slopes: the same of the directions; taken where directions are asked for at all.
        """
        news = np.isfinite(depth) & (depth > 0.0) & (weight > 0.0)
        if self.dynamic is not None:
            news &= ~self.dynamic
        self.opinions += 1
        known = np.isfinite(self.depth)
        with np.errstate(invalid='ignore', divide='ignore'):
            gap = np.log(depth / self.depth) / np.float32(_AGREES)
            trust = weight / (1.0 + gap * gap)
            total = self.weight + trust
            mixed = (self.weight * self.depth + trust * depth) / total
            share = trust / total
        both = news & known
        fresh = news & ~known
        if self.slopes is not None and slopes is not None:
            moved = self.slopes + share[..., None] * (slopes - self.slopes)
            self.slopes = np.where(both[..., None], moved, self.slopes)
            self.slopes = np.where(fresh[..., None], slopes, self.slopes).astype(np.float32)
        self.depth = np.where(both, mixed, self.depth)
        self.weight = np.where(both, total, self.weight)
        self.depth = np.where(fresh, depth, self.depth).astype(np.float32)
        self.weight = np.where(fresh, weight, self.weight).astype(np.float32)


def slopes_of(points: FloatArray) -> FloatArray:
    """Return x/z and y/z (H, W, 2) of points (H, W, 3); NaN where one is not in front."""
    with np.errstate(invalid='ignore', divide='ignore'):
        depth = np.where(points[..., 2:] > 0.0, points[..., 2:], np.float32(np.nan))
        return np.asarray(points[..., :2] / depth, np.float32)


def sample_rays(slopes: FloatArray, grid: Grid, uv: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the direction (N, 3), z = 1, of the nearest grid pixel to each pixel (N, 2)."""
    x, y = (sample_depth(slopes[..., axis], grid, uv) for axis in (0, 1))
    return np.stack([x, y, np.ones(len(uv))], axis=1)


def sample_depth(depth: FloatArray, grid: Grid, uv: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the depth (N,) of the nearest grid pixel to each pixel (N, 2) of the picture."""
    at = np.nan_to_num(np.rint(grid.to_grid(uv)), nan=-1.0).astype(np.intp)
    height, width = depth.shape
    inside = ((at >= 0) & (at < (width, height))).all(axis=1)
    at[~inside] = 0
    return np.where(inside, depth[at[:, 1], at[:, 0]], np.nan).astype(np.float64)
