# SPDX-License-Identifier: Apache-2.0
"""Points of many views in one place: one mean point, colour and weight a cube of space.

When there are more cubes than may be kept, all cubes grow to twice the edge, so memory has a limit
and nothing is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BITS = 21  # of each coordinate in a key
_HALF = 1 << (_BITS - 1)
_CHUNK = 1 << 20  # points taken in at a time
_COLUMNS = 7  # x y z red green blue weight


@dataclass(frozen=True, eq=False)
class MapCloud:
    """What a map holds.

    :param points: (N, 3) float32 in the world.
    :param colors: (N, 3) uint8 RGB.
    :param weights: (N,) confidence gathered.
    """

    points: NDArray[np.float32]
    colors: NDArray[np.uint8]
    weights: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.points)

    @property
    def nbytes(self) -> int:
        """Memory it takes, in bytes."""
        return self.points.nbytes + self.colors.nbytes + self.weights.nbytes


class VoxelMap:
    """A cloud of bounded size.

    :param voxel: edge of a cube, in the world's unit.
    :param points_max: most cubes that are kept.
    """

    def __init__(self, voxel: float, points_max: int) -> None:
        self.voxel = voxel
        self._points_max = points_max
        self._keys: NDArray[np.int64] = np.empty(0, np.int64)  # sorted
        self._means: NDArray[np.float32] = np.empty((0, _COLUMNS), np.float32)

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def nbytes(self) -> int:
        """Memory it holds between calls, in bytes."""
        return self._keys.nbytes + self._means.nbytes

    def add(
        self,
        points: NDArray[np.float32],
        colors: NDArray[np.uint8],
        weights: NDArray[np.float32],
    ) -> None:
        """Take in points (N, 3) with colours (N, 3) and weights (N,); NaN and weight 0 are not."""
        for start in range(0, len(points), _CHUNK):
            part = slice(start, start + _CHUNK)
            self._add(points[part], colors[part], weights[part])

    def cloud(self) -> MapCloud:
        """Return what it holds, as copies."""
        colors = np.clip(np.rint(self._means[:, 3:6]), 0, 255).astype(np.uint8)
        return MapCloud(self._means[:, :3].copy(), colors, self._means[:, 6].copy())

    def clear(self) -> None:
        """Forget all points; cubes keep the edge that they have grown to."""
        self._keys = np.empty(0, np.int64)
        self._means = np.empty((0, _COLUMNS), np.float32)

    def _add(
        self,
        points: NDArray[np.float32],
        colors: NDArray[np.uint8],
        weights: NDArray[np.float32],
    ) -> None:
        with np.errstate(invalid='ignore'):
            cells = np.floor(points / np.float32(self.voxel))
            kept = (np.abs(cells) < _HALF - 1).all(axis=1) & (weights > 0.0)
        if not kept.any():
            return
        means = np.empty((int(kept.sum()), _COLUMNS), np.float32)
        means[:, :3], means[:, 3:6], means[:, 6] = points[kept], colors[kept], weights[kept]
        self._merge(*_grouped(_key_of(cells[kept].astype(np.int64)), means))
        while len(self) > self._points_max:
            self._grow()

    def _merge(self, keys: NDArray[np.int64], means: NDArray[np.float32]) -> None:
        """Take in sorted keys, each once."""
        at = np.searchsorted(self._keys, keys)
        known = np.zeros(len(keys), np.bool_)
        inside = at < len(self._keys)
        known[inside] = self._keys[at[inside]] == keys[inside]
        old, new = at[known], means[known]
        weight = self._means[old, 6]
        total = weight + new[:, 6]
        share = (new[:, 6] / total)[:, None]
        self._means[old, :6] += share * (new[:, :6] - self._means[old, :6])
        self._means[old, 6] = total
        self._keys = np.insert(self._keys, at[~known], keys[~known])
        self._means = np.insert(self._means, at[~known], means[~known], axis=0)

    def _grow(self) -> None:
        self.voxel *= 2.0
        cells = _cells_of(self._keys) >> 1
        self._keys, self._means = _grouped(_key_of(cells), self._means)


def _key_of(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    x, y, z = (cells + _HALF).T
    return np.asarray((x << (2 * _BITS)) | (y << _BITS) | z)


def _cells_of(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    mask = (1 << _BITS) - 1
    return np.stack([keys >> (2 * _BITS), keys >> _BITS & mask, keys & mask], axis=1) - _HALF


def _grouped(
    keys: NDArray[np.int64], means: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return sorted keys, each once, with the weighted means of all that have it."""
    order = np.argsort(keys, kind='stable')
    keys, means = keys[order], means[order]
    first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    if len(first) == len(keys):
        return keys, means
    weight = means[:, 6:7].astype(np.float64)
    sums = np.add.reduceat(means[:, :6] * weight, first, axis=0)
    total = np.add.reduceat(weight, first, axis=0)
    return keys[first], np.hstack([sums / total, total]).astype(np.float32)
