# SPDX-License-Identifier: Apache-2.0
"""What is known exactly about a simulated picture: depth and moving boxes, from facet numbers.

Facet numbers take little room and lose nothing: with its facet's plane, each pixel's depth follows
to the last digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera, Matrix

Numbers = NDArray[np.uint16]  # (H, W) facet seen at each pixel's centre
Runs = NDArray[np.uint16]  # (n, 2) facet and length, row after row
TAKES_PART, MOVES = 255, 0  # values of a mask


@dataclass(frozen=True, eq=False)
class Rays:
    """The directions (x, y, 1) of a camera's pixels; shapes broadcast to (height, width)."""

    x: Matrix
    y: Matrix

    @classmethod
    def of(cls, camera: Camera) -> Rays:
        """Return the rays of a camera: a row and a column without distortion, else every pixel."""
        if not camera.is_distorted:
            row = (np.arange(camera.width, dtype=np.float64) - camera.cx) / camera.fx
            column = (np.arange(camera.height, dtype=np.float64) - camera.cy) / camera.fy
            return cls(row[None, :], column[:, None])
        u, v = np.meshgrid(np.arange(camera.width), np.arange(camera.height))
        rays = camera.unproject(np.stack([u, v], axis=-1).reshape(-1, 2))
        x, y = rays[:, :2].T.reshape(2, camera.height, camera.width)
        return cls(x, y)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self.y.shape[0], self.x.shape[1]


@dataclass(frozen=True, eq=False)
class Truth:
    """One picture's truth.

    :param runs: stretches of pixels in a row that see the same facet; see :func:`to_runs`.
    :param planes: (F, 3) inverse depth of a ray (x, y, 1) on each facet; NaN for the sky.
    :param first_moving: number of the first facet that belongs to a moving box.
    """

    runs: Runs
    planes: Matrix
    first_moving: int
    rays: Rays

    def numbers(self) -> Numbers:
        """Return (H, W) the number of the facet that each pixel's centre sees."""
        return self._spread(self.runs[:, 0])

    def depth(self) -> NDArray[np.float32]:
        """Return (H, W) depth Z in metres, NaN where there is nothing but sky."""
        columns = np.ascontiguousarray(self.planes[self.runs[:, 0]].T)
        a, b, c = (self._spread(column) for column in columns)
        a *= self.rays.x
        b *= self.rays.y
        a += b
        a += c
        return np.asarray(np.divide(1.0, a, out=a), np.float32)

    def mask(self) -> NDArray[np.uint8]:
        """Return (H, W): 0 on the moving boxes, which take no part, 255 elsewhere."""
        moves = self.runs[:, 0] >= self.first_moving
        return self._spread(np.where(moves, np.uint8(MOVES), np.uint8(TAKES_PART)))

    def _spread(self, values: NDArray[np.generic]) -> NDArray[Any]:
        return np.repeat(values, self.runs[:, 1]).reshape(self.rays.shape)


def to_runs(numbers: Numbers) -> Runs:
    """Return the stretches of equal numbers; none goes on into the next row."""
    begins = np.ones(numbers.shape, np.bool_)
    np.not_equal(numbers[:, 1:], numbers[:, :-1], out=begins[:, 1:])
    first = np.flatnonzero(begins)
    lengths = np.diff(first, append=numbers.size)
    return np.stack([numbers.ravel()[first], lengths], axis=1).astype(np.uint16)
