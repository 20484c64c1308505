# SPDX-License-Identifier: Apache-2.0
"""The uneven ground: a square grid of heights, hills around it, two triangles a cell."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.sim.facets import Facets

CELLS = 16
HALF_WIDTH_M = 9.6
TILE_M = 4.0  # what one tile of the ground's texture spans
_BUMPS_M, _MOST_M = 0.34, 0.6
_HILL_M = 3.4
_HILL_FROM, _HILL_TO = 6.4, 9.4  # distance from the centre where the hills begin and end to rise
_ALIKE_CELLS = 1.5


@dataclass(frozen=True, eq=False)
class Terrain:
    """Heights (CELLS + 1, CELLS + 1) in metres; rows run along y, columns along x."""

    heights: Matrix

    @classmethod
    def make(cls, rng: np.random.Generator) -> Terrain:
        """Return random ground, gentle in the middle, with hills around."""
        shape = (CELLS + 1, CELLS + 1)
        coarse = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 1.6)
        fine = cv2.GaussianBlur(rng.standard_normal(shape), (0, 0), 0.7)
        bumps = _BUMPS_M * (coarse / coarse.std() + 0.35 * fine / fine.std())
        bumps = _MOST_M * np.tanh(bumps / _MOST_M)
        x, y = np.meshgrid(_nodes(), _nodes())
        away = (np.abs(x) ** 4 + np.abs(y) ** 4) ** 0.25  # a circle with corners
        rise = np.clip((away - _HILL_FROM) / (_HILL_TO - _HILL_FROM), 0.0, 1.0)
        hills = _HILL_M * rise * rise * (3.0 - 2.0 * rise) * (1.0 + 0.25 * coarse / coarse.std())
        return cls(bumps * (1.0 + rise) + hills)

    def heights_at(self, x: Matrix, y: Matrix) -> Matrix:
        """Return a smooth surface through the nodes; between them off by a few centimetres."""
        columns, rows = _to_nodes(x).astype(np.float32), _to_nodes(y).astype(np.float32)
        grid = self.heights.astype(np.float32)
        mode = cv2.BORDER_REPLICATE
        return np.asarray(cv2.remap(grid, columns, rows, cv2.INTER_CUBIC, borderMode=mode))

    def lowest_near(self, x: float, y: float, radius_m: float) -> float:
        """Return the lowest node of all cells within a circle."""
        low = np.floor(_to_nodes(np.array([x, y]) - radius_m)).astype(int)
        high = np.ceil(_to_nodes(np.array([x, y]) + radius_m)).astype(int) + 1
        return float(self.heights[max(low[1], 0) : high[1], max(low[0], 0) : high[0]].min())

    def facets(self, material: int, light_pixels: int) -> Facets:
        """Return the triangles as one surface; the light map's ground is a square image.

        :param light_pixels: width of that square; it spans the whole terrain.
        """
        x, y = np.meshgrid(_nodes(), _nodes())
        corners = _triangles(np.stack([x, y, self.heights], axis=-1))
        places = np.concatenate([corners[:, :3, :2], np.ones((len(corners), 3, 1))], axis=2)
        texture = np.linalg.solve(places, _triangles(self._ways())[:, :3] / TILE_M)
        light = (light_pixels - 1) / (2.0 * HALF_WIDTH_M)
        charts = np.zeros((len(corners), 4, 4))
        charts[:, :2, [0, 1, 3]] = texture.transpose(0, 2, 1)
        charts[:, 2, 0] = charts[:, 3, 1] = light
        charts[:, 2:, 3] = light * HALF_WIDTH_M
        surface: NDArray[np.int64] = np.zeros(len(corners), np.int64)
        return Facets(corners, charts, np.full(len(corners), material), surface)

    def _ways(self) -> Matrix:
        """Return (nodes, nodes, 2): metres over the ground from the middle, along x and along y.

        They keep the texture from being stretched on slopes. Neighbours are made alike, or it
        would be sheared instead.
        """
        cell, middle = 2.0 * HALF_WIDTH_M / CELLS, CELLS // 2
        ways = np.zeros((*self.heights.shape, 2))
        ways[:, 1:, 0] = np.cumsum(np.hypot(cell, np.diff(self.heights, axis=1)), axis=1)
        ways[1:, :, 1] = np.cumsum(np.hypot(cell, np.diff(self.heights, axis=0)), axis=0)
        ways[..., 0] -= ways[:, middle : middle + 1, 0]
        ways[..., 1] -= ways[middle : middle + 1, :, 1]
        ways[..., 0] = cv2.GaussianBlur(ways[..., 0], (1, 0), 0.01, sigmaY=_ALIKE_CELLS)
        ways[..., 1] = cv2.GaussianBlur(ways[..., 1], (0, 1), _ALIKE_CELLS, sigmaY=0.01)
        return ways


def _triangles(nodes: Matrix) -> Matrix:
    """Return (F, 4, n): the values of a grid's nodes at the corners, two triangles a cell."""
    a, b, c, d = nodes[:-1, :-1], nodes[:-1, 1:], nodes[1:, 1:], nodes[1:, :-1]
    lower, upper = np.stack([a, b, c, c], axis=2), np.stack([a, c, d, d], axis=2)
    return np.concatenate(
        [lower.reshape(-1, 4, nodes.shape[-1]), upper.reshape(-1, 4, nodes.shape[-1])]
    )


def _nodes() -> Matrix:
    return np.linspace(-HALF_WIDTH_M, HALF_WIDTH_M, CELLS + 1)


def _to_nodes(metres: Matrix) -> Matrix:
    """Return places along an axis in units of cells."""
    return (metres + HALF_WIDTH_M) * (CELLS / (2.0 * HALF_WIDTH_M))
