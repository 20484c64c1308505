# SPDX-License-Identifier: Apache-2.0
"""Which facet each pixel sees: spans of every facet against a depth buffer, and single places."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.sim.projection import Projected
from mast3r_ros.sim.truth import Numbers

Places = NDArray[np.float32]  # (N,) columns or rows, in pixels
NOTHING = np.iinfo(np.uint16).max

_FARTHEST = 1e-6  # inverse depth, in 1/m, below which nothing is drawn
_ON_EDGE_PX = 1e-4


class Visibility:
    """Draws facet numbers into pictures of one size; not for several threads at once."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._nearest = np.empty((height, width), np.float32)
        self._columns = np.arange(width, dtype=np.float32)
        self._column_numbers = np.arange(width, dtype=np.int16)
        self._rows = np.arange(height, dtype=np.float64)

    def draw(self, seen: Projected) -> Numbers:
        """Return (height, width): the nearest facet's number at each pixel's centre."""
        numbers = np.full((self.height, self.width), NOTHING, np.uint16)
        self._nearest.fill(_FARTHEST)
        first, stop = self._spans(seen)
        filled = stop > first
        for index in np.flatnonzero(filled.any(axis=1)):
            rows = np.flatnonzero(filled[index])
            self._fill(
                numbers,
                int(seen.visible[index]),
                seen,
                slice(rows[0], rows[-1] + 1),
                first[index],
                stop[index],
            )
        return numbers

    def _spans(self, seen: Projected) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
        """Return the first column of each visible facet in each row, and the one after it."""
        edges = seen.edges[seen.visible]
        slope = np.where(np.abs(edges[..., 0]) < 1e-12, 1e-12, edges[..., 0])[..., None]
        cut = -(edges[..., 1, None] * self._rows + edges[..., 2, None]) / slope
        low = np.where(slope > 0.0, cut, -np.inf).max(axis=1)
        high = np.where(slope < 0.0, cut, np.inf).min(axis=1)
        first = np.ceil(np.clip(low, 0.0, self.width)).astype(np.int16)
        stop = np.floor(np.clip(high, -1.0, self.width - 1.0)).astype(np.int16) + np.int16(1)
        return first, stop

    def _fill(
        self,
        numbers: Numbers,
        facet: int,
        seen: Projected,
        rows: slice,
        first: NDArray[np.int16],
        stop: NDArray[np.int16],
    ) -> None:
        first, stop = first[rows], stop[rows]
        columns = slice(int(first.min()), int(stop.max()))
        a, b, c = seen.inverse_depth[facet]
        depth = np.add.outer(
            (b * self._rows[rows] + c).astype(np.float32),
            np.float32(a) * self._columns[columns],
        )
        number = self._column_numbers[columns]
        inside = (number >= first[:, None]) & (number < stop[:, None])
        nearest = self._nearest[rows, columns]
        inside &= depth > nearest
        np.copyto(nearest, depth, where=inside)
        np.copyto(numbers[rows, columns], facet, where=inside)


def nearest_at(
    seen: Projected,
    candidates: NDArray[np.intp],
    u: Places,
    v: Places,
    steps: Sequence[tuple[float, float]] = ((0.0, 0.0),),
) -> NDArray[np.intp]:
    """Return (steps, N): which of a few facets is seen at each of many places.

    :param candidates: (C, N) facet numbers; the first holds where none covers the place.
    :param steps: shifts of all places in pixels.
    """
    rows = np.concatenate([seen.edges, seen.inverse_depth[:, None]], axis=1)
    table = np.ascontiguousarray(rows.astype(np.float32).transpose(2, 1, 0))
    a, b, c = table.take(candidates, axis=2)  # each (5, C, N): four edges, inverse depth
    here = a * u + b * v + c
    found = np.empty((len(steps), len(u)), np.intp)
    for step, (du, dv) in enumerate(steps):
        *edges, depth = here + a * np.float32(du) + b * np.float32(dv)
        least = np.minimum(np.minimum(edges[0], edges[1]), np.minimum(edges[2], edges[3]))
        depth[least < -_ON_EDGE_PX] = 0.0
        best = depth.argmax(axis=0)  # the first where all are zero
        found[step] = np.take_along_axis(candidates, best[None], axis=0)[0]
    return found


def around(
    numbers: Numbers, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> NDArray[np.intp]:
    """Return (5, N) the facets at some pixels, first, and beside, above and below them."""
    bordered = np.pad(numbers, 1, mode='edge').astype(np.intp)
    width = bordered.shape[1]
    at = (rows + 1) * width + columns + 1
    return np.stack([bordered.take(at + step) for step in (0, -1, 1, -width, width)])


def at_borders(labels: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Return which pixels have a neighbour with another label."""
    found = np.zeros(labels.shape, np.bool_)
    for axis in (0, 1):
        one, other = [slice(None)] * 2, [slice(None)] * 2
        one[axis], other[axis] = slice(None, -1), slice(1, None)
        differs = labels[tuple(one)] != labels[tuple(other)]
        found[tuple(one)] |= differs
        found[tuple(other)] |= differs
    return found
