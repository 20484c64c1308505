# SPDX-License-Identifier: Apache-2.0
"""Dot products of every row with every row, in matrix products too small to be shared out.

Threads are ours, over blocks of rows. The BLAS library shares a large product out over threads of
its own again, which wait for each other whenever a core is busy; below a size it does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.pixel_vectors import Rows

Scores = NDArray[np.float32]  # (left rows, right rows), higher is nearer

_MULTIPLICATIONS = 1 << 18  # few enough for one thread
_LANES = 16  # numbers that a processor multiplies at once; a width in whole lanes wastes none


@dataclass(frozen=True, eq=False)
class RightRows:
    """Rows that others are multiplied with, cut into pieces of one width, and what remains."""

    even: NDArray[np.float32]  # (pieces, D, width)
    rest: NDArray[np.float32]  # (D, less than width)

    @property
    def count(self) -> int:
        """How many rows there are."""
        return int(len(self.even) * self.even.shape[2] + self.rest.shape[1])


def right_rows(rows: Rows, left_count: int) -> RightRows:
    """Lay rows out as products with up to so many rows at a time read them."""
    dim = rows.shape[1]
    width = max(1, _MULTIPLICATIONS // (left_count * dim))
    width = max(width // _LANES * _LANES, min(width, _LANES))
    pieces = len(rows) // width
    even = rows[: pieces * width].reshape(pieces, width, dim).swapaxes(1, 2)
    return RightRows(np.ascontiguousarray(even), np.ascontiguousarray(rows[pieces * width :].T))


def products(left: Rows, right: RightRows, room: Scores | None = None) -> Scores:
    """Return the dot product of every row with every row.

    :param room: memory for the answer, of as many rows and columns or more, to use it again.
    """
    pieces, _, width = right.even.shape
    if room is None:
        room = np.empty((len(left), right.count), np.float32)
    scores = room[: len(left), : right.count]
    stacked = scores[:, : pieces * width].reshape(len(left), pieces, width).swapaxes(0, 1)
    np.matmul(left, right.even, out=stacked)
    np.matmul(left, right.rest, out=scores[:, pieces * width :])
    return scores
