# SPDX-License-Identifier: Apache-2.0
"""The vectors of one view's pixels (descriptors or points), read in small pieces as float32.

Nothing here copies the whole map: it may be float16 or lie in memory in any order, and a piece is
converted only when it is read.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.views import MaskArray, as_mask
from mast3r_ros.errors import InvalidInput

Pixels = NDArray[np.intp]  # row-major pixel indices
Rows = NDArray[np.float32]  # (n, D), one vector a row

_STRIP_NUMBERS = 1 << 20  # about 4 MB of float32


class PixelVectors:
    """A vector for each pixel of a view, and which of the pixels take part.

    A pixel takes part if the mask says so and its vector is finite.

    :param name: what the map is called in error messages.
    :param array: (H, W, D), float32 or float16.
    :param mask: (H, W) bool or whole numbers, nonzero takes part; None: all do.
    """

    def __init__(self, name: str, array: NDArray[Any], mask: NDArray[Any] | None = None) -> None:
        _check_map(name, array)
        self._name = name
        self.height, self.width, self.dim = array.shape
        self._array = array
        self._flat = array.reshape(-1, self.dim) if array.flags.c_contiguous else None
        self.takes_part = self._finite()
        if mask is not None:
            self.takes_part &= as_mask(mask, self.width, self.height).ravel()
        self.pixels: Pixels = np.flatnonzero(self.takes_part)

    @property
    def is_whole(self) -> bool:
        """Whether every pixel takes part."""
        return len(self.pixels) == len(self.takes_part)

    def take(self, pixels: Pixels) -> Rows:
        """Return the vectors of the given pixels."""
        if self._flat is not None:
            rows = self._flat.take(pixels, axis=0)
        else:
            rows = self._array[pixels // self.width, pixels % self.width]
        return rows.astype(np.float32, copy=False)

    def run(self, piece: slice) -> Rows:
        """Return the vectors of ``pixels[piece]``, without a copy where that can be."""
        if self._flat is not None and self.is_whole:
            return self._flat[piece].astype(np.float32, copy=False)
        return self.take(self.pixels[piece])

    def xy(self, pixels: Pixels) -> NDArray[np.int64]:
        """Return the (x, y) of the given pixels, (n, 2)."""
        return np.stack([pixels % self.width, pixels // self.width], axis=1).astype(np.int64)

    def thinned(self, start: int, step: int) -> PixelVectors:
        """Return every ``step``-th row and column as a view of its own, from ``start`` on."""
        part = self.takes_part.reshape(self.height, self.width)[start::step, start::step]
        few = np.ascontiguousarray(self._array[start::step, start::step])
        return PixelVectors(self._name, few, part)

    def _finite(self) -> MaskArray:
        return np.concatenate([_finite_rows(strip) for strip in self._strips()])

    def _strips(self) -> Iterator[NDArray[Any]]:
        height = max(1, _STRIP_NUMBERS // (self.width * self.dim))
        for top in range(0, self.height, height):
            yield self._array[top : top + height].reshape(-1, self.dim)


def _finite_rows(rows: NDArray[Any]) -> MaskArray:
    """Return which rows hold finite numbers only.

    Sums would tell too, but by a product for which the BLAS library wakes its threads: on a busy
    machine waiting for them takes a hundred times as long as looking at every number.
    """
    finite = np.isfinite(rows)
    return np.ones(len(rows), np.bool_) if finite.all() else np.asarray(finite.all(axis=1))


def _check_map(name: str, array: NDArray[Any]) -> None:
    if not isinstance(array, np.ndarray):
        raise InvalidInput(
            f'{name} is a {type(array).__name__}; give a NumPy array (height, width, D)'
        )
    if array.ndim != 3 or 0 in array.shape:
        raise InvalidInput(
            f'{name} has shape {array.shape}; allowed is (height, width, D) with none of them 0'
        )
    if array.dtype not in (np.float32, np.float16):
        raise InvalidInput(f'{name} is {array.dtype}; allowed are float32 and float16')
