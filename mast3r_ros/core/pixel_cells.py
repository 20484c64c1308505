# SPDX-License-Identifier: Apache-2.0
"""Small square cells of pixels, each with a ball that holds all its vectors.

Neighbouring pixels have alike vectors, so a ball is small, and a whole cell can be ruled out by
looking at its ball alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.pixel_vectors import Pixels, PixelVectors, Rows

_MOST_CELLS = 1 << 15
_PIXELS_PER_PIECE = 1 << 14
_SPARSE = 1 / 16  # share of the view below which pixels are put in order by sorting


class PixelCells:
    """The cells of a view that hold a pixel that takes part.

    The last cell of a row or column overlaps the one before it where they don't come out even.

    ``balls`` (cells, D + 1) holds each ball's centre and, in the last column, its radius, enlarged
    by what rounding can do to sums of D products.

    :param side: side of a cell in pixels; in a large view they are larger.
    """

    def __init__(self, vectors: PixelVectors, side: int) -> None:
        height, width = vectors.height, vectors.width
        self._size = height * width
        while height * width > _MOST_CELLS * side**2:
            side *= 2
        self._offsets = _grid(np.arange(min(side, height)), np.arange(min(side, width)), width)
        self._corners = _grid(_starts(height, side), _starts(width, side), width)
        if not vectors.is_whole:
            self._corners = self._corners[vectors.takes_part[self.pixels(slice(None))].any(axis=1)]
        self.balls = np.empty((len(self._corners), vectors.dim + 1), np.float32)
        cells_per_piece = max(1, _PIXELS_PER_PIECE // len(self._offsets))
        for start in range(0, len(self._corners), cells_per_piece):
            piece = slice(start, start + cells_per_piece)
            self.balls[piece] = _balls(vectors, self.pixels(piece))
        rounding = 8.0 * (vectors.dim + 8) * np.finfo(np.float32).eps
        farthest = np.abs(self.balls).max(initial=0.0) * np.sqrt(vectors.dim + 1.0)
        self.balls[:, -1] += rounding * farthest

    def pixels(self, cells: slice | NDArray[np.bool_] | NDArray[np.intp]) -> Pixels:
        """Return the pixels of the given cells, (cells, pixels in a cell)."""
        return np.asarray(self._corners[cells][:, None] + self._offsets)

    def ascending(self, cells: NDArray[np.bool_] | NDArray[np.intp]) -> Pixels:
        """Return the pixels of the given cells in ascending order."""
        pixels = self.pixels(cells).ravel()
        if len(pixels) < _SPARSE * self._size:
            pixels.sort()
            return pixels
        chosen = np.zeros(self._size, np.bool_)
        chosen[pixels] = True
        return np.flatnonzero(chosen)


def _starts(length: int, side: int) -> Pixels:
    """Return where cells start along one axis; none reaches over the end."""
    return np.minimum(np.arange(0, length, side), max(0, length - side))


def _grid(rows: Pixels, columns: Pixels, width: int) -> Pixels:
    return (rows[:, None] * width + columns).ravel()


def _balls(vectors: PixelVectors, pixels: Pixels) -> Rows:
    """Return the mean of each cell's vectors, and how far the farthest of them is from it."""
    inside = vectors.take(pixels.ravel()).reshape(*pixels.shape, vectors.dim)
    part = vectors.takes_part[pixels]
    if not part.all():
        inside[~part] = 0.0
    weights = (part / part.sum(axis=1, keepdims=True)).astype(np.float32)
    centre = np.matmul(weights[:, None], inside)
    inside -= centre
    squares = np.einsum('cpd,cpd->cp', inside, inside)
    return np.column_stack([centre[:, 0], np.sqrt((squares * part).max(axis=1))])
