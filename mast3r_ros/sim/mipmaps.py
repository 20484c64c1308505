# SPDX-License-Identifier: Apache-2.0
"""Filtered look-up in repeating textures: every tile at every halved size in one image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (N,)
Colours = NDArray[np.uint8]  # (N, 3)

_SMALLEST = 4  # pixels of the coarsest level
_ROW = 512  # samples are looked up in rows of this many


class MipAtlas:
    """Tiles of one size, one below the other; the halved sizes stand to the right.

    Each tile carries a border of one pixel from its opposite side, so that it repeats.
    """

    def __init__(self, tiles: Sequence[Colours]) -> None:
        self.pixels = tiles[0].shape[0]
        self.levels = int(np.log2(self.pixels / _SMALLEST)) + 1
        sizes = self.pixels >> np.arange(self.levels)
        self._sizes = sizes.astype(np.float32)
        self._columns = np.cumsum(np.r_[0, sizes[:-1] + 2]).astype(np.float32)
        width = int(self._columns[-1]) + _SMALLEST + 2
        self._image = np.zeros((len(tiles) * (self.pixels + 2), width, 3), np.uint8)
        for row, tile in enumerate(tiles):
            for level, column in enumerate(self._columns.astype(int)):
                top = row * (sizes[level] + 2)
                self._place(tile, top, column)
                tile = _halved(tile)

    def look_up(self, s: Samples, t: Samples, tile: Samples, level: Samples) -> Colours:
        """Return the colours at (s, t), in tiles, blended between the two levels around ``level``.

        :param tile: which tile each sample is taken from.
        """
        s, t = s - np.floor(s), t - np.floor(t)
        level = np.clip(level, 0.0, self.levels - 1.001)
        lower = level.astype(np.intp)
        part = level - lower.astype(np.float32)
        fine = self._level(s, t, tile, lower)
        coarse = self._level(s, t, tile, lower + 1)
        return blend(fine, coarse, part)

    def _level(self, s: Samples, t: Samples, tile: Samples, level: NDArray[np.intp]) -> Colours:
        size = self._sizes.take(level)
        x = self._columns.take(level) + s * size + 0.5
        y = tile * (size + 2.0) + t * size + 0.5
        return sample(self._image, x, y)

    def _place(self, tile: Colours, top: int, column: int) -> None:
        bordered = cv2.copyMakeBorder(tile, 1, 1, 1, 1, cv2.BORDER_WRAP)
        height, width = bordered.shape[:2]
        self._image[top : top + height, column : column + width] = bordered


def sample(image: Colours, x: Samples, y: Samples) -> Colours:
    """Return the colours of an image at any number of places, interpolated."""
    count = len(x)
    full = -(-count // _ROW) * _ROW
    if full != count:
        x, y = np.resize(x, full), np.resize(y, full)
    found = cv2.remap(
        image,
        x.reshape(-1, _ROW),
        y.reshape(-1, _ROW),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(found.reshape(-1, 3)[:count])


def blend(first: Colours, second: Colours, part: Samples) -> Colours:
    """Return ``first`` where ``part`` is 0 and ``second`` where it is 1."""
    mixed = cv2.blendLinear(first[None], second[None], 1.0 - part[None], part[None])
    return np.asarray(mixed.reshape(-1, 3))


def _halved(tile: Colours) -> Colours:
    half = tile.shape[0] // 2
    return np.asarray(cv2.resize(tile, (half, half), interpolation=cv2.INTER_AREA), np.uint8)
