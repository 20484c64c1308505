# SPDX-License-Identifier: Apache-2.0
"""The map that grows while a camera with known poses flies: cells of space in a fixed table.

A cell's place in the table follows from where it is. Two cells of one place drive each other out,
the newer wins: so memory and time stay the same however far the flight goes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_FACTORS = np.array([73856093, 19349663, 83492791], np.int64)  # large primes, to mix x, y and z
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_FARTHEST = 2**31 - 1  # cells from the origin
_OFTEN_ENOUGH = 2  # a cell seen once may be noise


class GrowingMap:
    """Cells seen so far, each with its newest point and colour.

    :param size_bits: the table has 2 to the power of so many places.
    """

    def __init__(self, size_bits: int = 19) -> None:
        self._bits = size_bits
        self.cell = 0.0  # side of a cell; set when the first points come
        self.clear()

    def clear(self) -> None:
        """Forget everything, and the size of the cells."""
        count = 1 << self._bits
        self.cell = 0.0
        self._keys: NDArray[np.int32] = np.zeros((count, 3), np.int32)
        self._points: NDArray[np.float32] = np.zeros((count, 3), np.float32)
        self._colors: NDArray[np.uint8] = np.zeros((count, 3), np.uint8)
        self._seen: NDArray[np.uint8] = np.zeros(count, np.uint8)

    def __len__(self) -> int:
        return int(np.count_nonzero(self._seen >= _OFTEN_ENOUGH))

    def add(self, points: NDArray[Any], colors: NDArray[np.uint8], cell: float) -> None:
        """Take in the points of one cloud.

        :param points: (N, 3) in the world.
        :param cell: side of a cell; what the first call says holds until the map is cleared.
        """
        if len(points) == 0:
            return
        self.cell = self.cell or max(cell, 1e-6)
        keys = np.floor(np.asarray(points, np.float64) / self.cell)
        keys = np.clip(keys, -_FARTHEST, _FARTHEST).astype(np.int32)
        places = self._places(keys)
        places, first = np.unique(places, return_index=True)
        keys = keys[first]
        same = (self._keys[places] == keys).all(axis=1) & (self._seen[places] > 0)
        self._seen[places] = np.where(same, np.minimum(self._seen[places], 254) + 1, 1)
        self._keys[places] = keys
        self._points[places] = points[first]
        self._colors[places] = colors[first]

    def shown(self, budget: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return points and colours of cells seen more than once, so many at most."""
        places = np.flatnonzero(self._seen >= _OFTEN_ENOUGH)
        if len(places) > budget:  # places are mixed, so the first are a fair sample
            places = places[: max(budget, 0)]
        return self._points[places], self._colors[places]

    def _places(self, keys: NDArray[np.int32]) -> NDArray[np.intp]:
        mixed = (keys.astype(np.int64) * _FACTORS).sum(axis=1).astype(np.uint64) * _SPREAD
        return np.asarray(mixed >> np.uint64(64 - self._bits), np.intp)
