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
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.parallel import parallel_map
from mast3r_ros.core.pixel_cells import PixelCells
from mast3r_ros.core.pixel_vectors import Pixels, PixelVectors, Rows

Scores = NDArray[np.float32]  # (queries, targets), higher is nearer

BLOCK_QUERIES = 48
"""How many queries are searched together: few enough that their answers lie close together."""

_PIECE_SCORES = 1 << 18  # 1 MB of scores at a time
_PRODUCT_MULTIPLICATIONS = 1 << 18  # few enough for one thread
_WORTHWHILE_SHARE = 0.3  # of the cells; with more left, comparing every pixel is faster
_TRIALS = 4  # first blocks that fail before cells are given up for good


class NearestSearch(abc.ABC):
    """Finds the pixel with the highest score among those of one view that take part."""

    cell_side: int
    """Side of a cell in pixels: the larger, the fewer bounds and the more pixels to compare."""

    def __init__(self, targets: PixelVectors) -> None:
        self.targets = targets
        self._cells: PixelCells | None = PixelCells(targets, self.cell_side)

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

        if self._cells is not None:
            self._search_cells(self._cells, queries, pixels, guesses, found)
        left = np.flatnonzero(found < 0)
        parallel_map(search_all, [left[block] for block in _blocks(len(left), BLOCK_QUERIES)])
        return found

    def _search_cells(
        self,
        cells: PixelCells,
        queries: PixelVectors,
        pixels: Pixels,
        guesses: Pixels | None,
        found: Pixels,
    ) -> None:
        """Fill in the answers of the blocks of queries for which cells rule out enough."""
        for tried, block in enumerate(_blocks(len(pixels), BLOCK_QUERIES), start=1):
            vectors = queries.take(pixels[block])
            left = self._cells_left(cells, vectors, None if guesses is None else guesses[block])
            if left.mean() <= _WORTHWHILE_SHARE:
                found[block] = self._best(vectors, self._targets_in(cells, left))
            elif tried == _TRIALS and (found < 0).all():
                self._cells = None
                return

    @abc.abstractmethod
    def _scores(self, vectors: Rows, targets: Rows) -> Scores:
        """Return the score of every target for every query."""

    @abc.abstractmethod
    def _bounds(self, vectors: Rows, cells: PixelCells) -> tuple[Scores, Scores]:
        """Return a likely and a highest possible score of every cell for every query."""

    def _cells_left(
        self, cells: PixelCells, vectors: Rows, guesses: Pixels | None
    ) -> NDArray[np.bool_]:
        """Return which cells may hold the answer of one of the queries."""
        likely, highest = self._bounds(vectors, cells)
        if guesses is None:
            guesses = self._targets_in(cells, likely.argmax(axis=1))
        reached = self._scores(vectors, self.targets.take(guesses)).max(axis=1, keepdims=True)
        return np.asarray(~(highest < reached).all(axis=0))

    def _targets_in(self, cells: PixelCells, chosen: NDArray[np.bool_] | Pixels) -> Pixels:
        """Return every pixel of some cells that takes part, ascending."""
        pixels = cells.pixels(chosen).ravel()
        pixels.sort()
        return pixels if self.targets.is_whole else pixels[self.targets.takes_part[pixels]]

    def _best(self, vectors: Rows, candidates: Pixels | None = None) -> Pixels:
        """Return the target with the highest score, the earliest of equals.

        :param candidates: ascending targets to choose from; None: all.
        """
        pixels = self.targets.pixels if candidates is None else candidates
        rows = np.arange(len(vectors))
        best = np.full(len(vectors), pixels[0])
        best_score = np.full(len(vectors), -np.inf, np.float32)
        for piece in _blocks(len(pixels), _PIECE_SCORES // BLOCK_QUERIES):
            if candidates is None:
                scores = self._scores(vectors, self.targets.run(piece))
            else:
                scores = self._scores(vectors, self.targets.take(candidates[piece]))
            column = scores.argmax(axis=1)
            score = scores[rows, column]
            better = score > best_score
            best[better] = pixels[piece][column[better]]
            best_score[better] = score[better]
        return best


class SimilaritySearch(NearestSearch):
    """The score is the dot product."""

    cell_side = 4

    def _scores(self, vectors: Rows, targets: Rows) -> Scores:
        return _products(vectors, targets)

    def _bounds(self, vectors: Rows, cells: PixelCells) -> tuple[Scores, Scores]:
        # For every d in a ball: q.d <= q.centre + |q| radius.
        lengths = np.sqrt(np.einsum('nd,nd->n', vectors, vectors))
        highest = _products(np.column_stack([vectors, lengths]), cells.balls)
        return highest, highest


class DistanceSearch(NearestSearch):
    """The score is the negative squared distance; made for few dimensions."""

    cell_side = 8

    def _scores(self, vectors: Rows, targets: Rows) -> Scores:
        scores = np.zeros((len(vectors), len(targets)), np.float32)
        for axis in range(vectors.shape[1]):
            difference = vectors[:, axis, None] - targets[:, axis]
            scores -= np.square(difference, out=difference)
        return scores

    def _bounds(self, vectors: Rows, cells: PixelCells) -> tuple[Scores, Scores]:
        likely = self._scores(vectors, cells.balls[:, :-1])
        rounding = np.float32(1e-5)
        gap = (1 - rounding) * np.sqrt(-likely) - (1 + rounding) * cells.balls[:, -1]
        return likely, -np.square(np.maximum(gap, 0.0))


def _blocks(length: int, size: int) -> Iterator[slice]:
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))


def _products(left: Rows, right: Rows) -> Scores:
    """Return the dot product of every row with every row, in many small matrix products.

    Threads are ours, over blocks of queries. Products this small are not shared out over threads
    again by the BLAS library, where they would wait for each other whenever a core is busy.
    """
    width = max(1, _PRODUCT_MULTIPLICATIONS // left.size)
    count = len(right) // width
    even = count * width
    products = np.empty((len(left), len(right)), np.float32)
    stacked = products[:, :even].reshape(len(left), count, width).swapaxes(0, 1)
    np.matmul(left, right[:even].reshape(count, width, right.shape[1]).swapaxes(1, 2), out=stacked)
    np.matmul(left, right[even:].T, out=products[:, even:])
    return products
