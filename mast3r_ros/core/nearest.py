# SPDX-License-Identifier: Apache-2.0
"""Exact nearest-neighbour search among a view's pixels: the most similar, or the closest in space.

Queries are searched a small block at a time. Cells whose ball cannot hold the answer of any query
of the block are left out; what remains is compared in pieces that stay in the processor's cache.
Where cells rule out little (vectors without spatial order) everything is compared instead, on
several threads; the small steps of the search by cells would only make threads wait for the GIL.
Ties go to the first pixel in row-major order.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.parallel import parallel_map, thread_count
from mast3r_ros.core.pixel_cells import PixelCells
from mast3r_ros.core.pixel_vectors import Pixels, PixelVectors, Rows
from mast3r_ros.core.row_products import RightRows, Scores, products, right_rows

BLOCK_QUERIES = 48
"""How many queries are searched together: few enough that their answers lie close together."""

_PIECE_TARGETS = 48 * 112  # compared at a time, by at most so many queries at once:
_MOST_QUERIES = 96
_SPAN_QUERIES = 1024  # read at a time, where every pixel is compared
_FEW_QUERIES = 96  # for which comparing every pixel costs less than making cells
_WORTHWHILE_SHARE = 0.3  # of the cells; with more left, comparing every pixel is faster
_TRIALS = 4  # first blocks that fail before cells are given up for good


class NearestSearch(abc.ABC):
    """Finds the pixel with the highest score among those of one view that take part."""

    cell_side: int
    """Side of a cell in pixels: the larger, the fewer bounds and the more pixels to compare."""

    def __init__(self, targets: PixelVectors) -> None:
        self.targets = targets
        self._cells_help = True
        self._cells_made = False

    def nearest(
        self, queries: PixelVectors, pixels: Pixels, guesses: Pixels | None = None
    ) -> Pixels:
        """Return the best target of each of some query pixels; a target must take part at all.

        :param pixels: pixels of ``queries``; neighbours in this list should be neighbours in the
            view.
        :param guesses: for each query a target that takes part and is likely good; they make the
            search faster and never change its answer.
        """
        found = np.full(len(pixels), -1, np.intp)

        def search_all(rows: Pixels) -> None:
            found[rows] = self._best(queries.take(pixels[rows]))

        if self._cells_help and (self._cells_made or len(pixels) > _FEW_QUERIES):
            self._cells_made = True
            self._search_cells(queries, pixels, guesses, found)
        left = np.flatnonzero(found < 0)
        span = min(_SPAN_QUERIES, math.ceil(len(left) / thread_count()))
        parallel_map(search_all, [left[block] for block in _blocks(len(left), max(1, span))])
        return found

    def _search_cells(
        self, queries: PixelVectors, pixels: Pixels, guesses: Pixels | None, found: Pixels
    ) -> None:
        """Fill in the answers of the blocks of queries for which cells rule out enough."""
        for tried, block in enumerate(_blocks(len(pixels), BLOCK_QUERIES), start=1):
            vectors = queries.take(pixels[block])
            left = self._cells_left(vectors, None if guesses is None else guesses[block])
            if left.mean() <= _WORTHWHILE_SHARE:
                found[block] = self._best(vectors, self._targets_in(left))
            elif tried == _TRIALS and (found < 0).all():
                self._cells_help = False
                return

    @abc.abstractmethod
    def _arranged(self, targets: Rows) -> Any:
        """Return targets as :meth:`_scores` takes them."""

    @abc.abstractmethod
    def _scores(self, vectors: Rows, arranged: Any, room: Scores | None = None) -> Scores:
        """Return the score of every arranged target for every query, at most 96 queries.

        :param room: where to put them, of so many rows and columns or more.
        """

    @abc.abstractmethod
    def _arranged_balls(self, balls: Rows) -> Any:
        """Return the balls of all cells as :meth:`_bounds` reads them."""

    @abc.abstractmethod
    def _bounds(self, vectors: Rows) -> tuple[Scores, Scores]:
        """Return a likely and a highest possible score of every cell for every query."""

    @cached_property
    def _cells(self) -> PixelCells:
        return PixelCells(self.targets, self.cell_side)

    @cached_property
    def _balls(self) -> Any:
        return self._arranged_balls(self._cells.balls)

    def _cells_left(self, vectors: Rows, guesses: Pixels | None) -> NDArray[np.bool_]:
        """Return which cells may hold the answer of one of the queries."""
        likely, highest = self._bounds(vectors)
        if guesses is None:
            guesses = self._targets_in(likely.argmax(axis=1))
        guessed = self._arranged(self.targets.take(guesses))
        reached = self._scores(vectors, guessed).max(axis=1, keepdims=True)
        return np.asarray(~(highest < reached).all(axis=0))

    def _targets_in(self, chosen: NDArray[np.bool_] | Pixels) -> Pixels:
        """Return every pixel of some cells that takes part, ascending."""
        pixels = self._cells.ascending(chosen)
        return pixels if self.targets.is_whole else pixels[self.targets.takes_part[pixels]]

    def _best(self, vectors: Rows, candidates: Pixels | None = None) -> Pixels:
        """Return the target with the highest score, the earliest of equals.

        :param candidates: ascending targets to choose from; None: all.
        """
        pixels = self.targets.pixels if candidates is None else candidates
        best = np.full(len(vectors), pixels[0])
        best_score = np.full(len(vectors), -np.inf, np.float32)
        # The same memory for all pieces: fresh one would be mapped page by page every time.
        size = min(len(vectors), _MOST_QUERIES), min(len(pixels), _PIECE_TARGETS)
        room = np.empty(size, np.float32)
        for piece in _blocks(len(pixels), _PIECE_TARGETS):
            whole = candidates is None
            targets = self.targets.run(piece) if whole else self.targets.take(pixels[piece])
            arranged = self._arranged(targets)
            for some in _blocks(len(vectors), _MOST_QUERIES):
                scores = self._scores(vectors[some], arranged, room)
                column = scores.argmax(axis=1)
                score = np.take_along_axis(scores, column[:, None], axis=1)[:, 0]
                better = score > best_score[some]
                best[some][better] = pixels[piece][column[better]]
                best_score[some][better] = score[better]
        return best


class SimilaritySearch(NearestSearch):
    """The score is the dot product."""

    cell_side = 4

    def _arranged_balls(self, balls: Rows) -> RightRows:
        return right_rows(balls, BLOCK_QUERIES)

    def _arranged(self, targets: Rows) -> RightRows:
        return right_rows(targets, _MOST_QUERIES)

    def _scores(self, vectors: Rows, arranged: RightRows, room: Scores | None = None) -> Scores:
        return products(vectors, arranged, room)

    def _bounds(self, vectors: Rows) -> tuple[Scores, Scores]:
        # For every d in a ball: q.d <= q.centre + |q| radius.
        lengths = np.sqrt(np.einsum('nd,nd->n', vectors, vectors))
        highest = products(np.column_stack([vectors, lengths]), self._balls)
        return highest, highest


class DistanceSearch(NearestSearch):
    """The score is the negative squared distance; made for few dimensions."""

    cell_side = 8

    def _arranged(self, targets: Rows) -> NDArray[np.float32]:
        return np.ascontiguousarray(targets.T)

    def _scores(
        self, vectors: Rows, arranged: NDArray[np.float32], room: Scores | None = None
    ) -> Scores:
        size = len(vectors), arranged.shape[1]
        scores = np.empty(size, np.float32) if room is None else room[: size[0], : size[1]]
        scores.fill(0.0)
        for axis, values in enumerate(arranged):
            difference = vectors[:, axis, None] - values
            scores -= np.square(difference, out=difference)
        return scores

    def _arranged_balls(self, balls: Rows) -> NDArray[np.float32]:
        return np.ascontiguousarray(balls.T)

    def _bounds(self, vectors: Rows) -> tuple[Scores, Scores]:
        likely = self._scores(vectors, self._balls[:-1])
        rounding = np.float32(1e-5)
        gap = (1 - rounding) * np.sqrt(-likely) - (1 + rounding) * self._balls[-1]
        return likely, -np.square(np.maximum(gap, 0.0))


def _blocks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
