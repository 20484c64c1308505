# SPDX-License-Identifier: Apache-2.0
"""Reciprocal nearest neighbours from a few seeds: there and back again until nothing moves."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mast3r_ros.core.nearest import BLOCK_QUERIES
from mast3r_ros.core.pixel_vectors import Pixels, PixelVectors
from mast3r_ros.errors import InvalidInput

_MAX_ROUNDS = 10


class PixelSearch(Protocol):
    """Finds the nearest of the pixels of one view that take part, anywhere or in some part."""

    @property
    def targets(self) -> PixelVectors:
        """The view."""

    def nearest(
        self, queries: PixelVectors, pixels: Pixels, guesses: Pixels | None = None
    ) -> Pixels:
        """Return the nearest target of each of some query pixels."""


class NearestMemory:
    """The nearest target of any query pixel, searched once and remembered."""

    def __init__(self, queries: PixelVectors, search: PixelSearch) -> None:
        self._queries = queries
        self._search = search
        self._known = np.full(queries.height * queries.width, -1, np.int32)

    def __call__(self, pixels: Pixels, guesses: Pixels | None = None) -> Pixels:
        """Return the nearest target of each pixel.

        :param guesses: a likely target of each pixel; no answer depends on it.
        """
        distinct, first = np.unique(pixels, return_index=True)
        first = first[self._known[distinct] < 0]
        first = first[self._spatial_order(pixels[first])]
        new = pixels[first]
        hints = None if guesses is None else guesses[first]
        self._known[new] = self._search.nearest(self._queries, new, hints)
        return self._known[pixels].astype(np.intp)

    def _spatial_order(self, pixels: Pixels) -> Pixels:
        """Return an order in which neighbours in the list are neighbours in the view."""
        size = self._queries.height * self._queries.width
        tile = math.ceil(math.sqrt(size * BLOCK_QUERIES / max(1, len(pixels))))
        y, x = np.divmod(pixels, self._queries.width)
        return np.lexsort((x // tile, y // tile))


def stride_seeds(view: PixelVectors, subsample: int) -> Pixels:
    """Return every ``subsample``-th pixel of a view along both axes, if it takes part."""
    step = int(subsample)
    if step != subsample or step < 1:
        raise InvalidInput(f'subsample is {subsample}; allowed is a whole number of at least 1')
    y, x = np.mgrid[step // 2 : view.height : step, step // 2 : view.width : step]
    pixels = (y * view.width + x).ravel()
    return np.asarray(pixels[view.takes_part[pixels]])


def given_seeds(view: PixelVectors, seeds: tuple[ArrayLike, ArrayLike] | ArrayLike) -> Pixels:
    """Return the distinct pixels of given points that take part, ascending.

    :param seeds: a tuple of x and y, or (N, 2) points; whole pixels inside the view.
    """
    xy = _as_points(seeds)
    outside = (xy < 0) | (xy >= (view.width, view.height))
    if outside.any():
        x, y = xy[outside.any(axis=1)][0]
        raise InvalidInput(
            f'the seed ({x}, {y}) is outside view 1; allowed are x below {view.width} and '
            f'y below {view.height}, from 0'
        )
    pixels = np.unique(xy[:, 1] * view.width + xy[:, 0])
    return np.asarray(pixels[view.takes_part[pixels]])


def nearest_pairs(
    seeds: Pixels, view_1: PixelVectors, search_2: PixelSearch
) -> tuple[Pixels, Pixels]:
    """Return the seeds and the nearest pixel in view 2 of each, whatever the way back says."""
    if len(search_2.targets.pixels) == 0:
        return seeds[:0], seeds[:0]
    return seeds, NearestMemory(view_1, search_2)(seeds)


def reciprocal_pairs(
    seeds: Pixels,
    search_1: PixelSearch,
    search_2: PixelSearch,
    *,
    until_rest: bool,
    pixel_tol: float = 0.0,
) -> tuple[Pixels, Pixels]:
    """Return the pixels of view 1 and view 2 that are each other's nearest, without doubles.

    :param until_rest: whether a seed that does not come back goes on from where it arrived, up to
        ten times there and back; otherwise it is dropped.
    :param pixel_tol: above 0, a seed stays where it is and counts if one way there and back ends
        less than so many pixels from it.
    """
    view_1 = search_1.targets
    if len(view_1.pixels) == 0 or len(search_2.targets.pixels) == 0:
        return seeds[:0], seeds[:0]
    rounds = _MAX_ROUNDS if until_rest and pixel_tol == 0 else 1
    at_1, at_2, at_rest = _there_and_back(seeds, search_1, search_2, rounds)
    if pixel_tol > 0:
        at_rest = np.linalg.norm(view_1.xy(at_1) - view_1.xy(seeds), axis=1) < pixel_tol
        at_1 = seeds
    pairs = np.unique(np.stack([at_1[at_rest], at_2[at_rest]], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


def _there_and_back(
    seeds: Pixels, search_1: PixelSearch, search_2: PixelSearch, rounds: int
) -> tuple[Pixels, Pixels, NDArray[np.bool_]]:
    """Return where each seed ends in view 1 and in view 2, and whether it came to rest there."""
    to_2 = NearestMemory(search_1.targets, search_2)
    to_1 = NearestMemory(search_2.targets, search_1)
    at_1, at_2 = seeds.copy(), np.full(len(seeds), -1, np.intp)
    moving = np.ones(len(seeds), np.bool_)
    for turn in range(rounds):
        before_1, before_2 = at_1.copy(), at_2.copy()
        # A pixel was found as the nearest of its partner, which so is a good guess for the way on.
        at_2[moving] = to_2(at_1[moving], at_2[moving] if turn else None)
        moving &= at_2 != before_2
        at_1[moving] = to_1(at_2[moving], at_1[moving])
        moving &= at_1 != before_1
        if not moving.any():
            break
    return at_1, at_2, ~moving


def _as_points(seeds: Any) -> NDArray[np.int64]:
    try:
        points = np.stack(seeds, axis=-1) if isinstance(seeds, tuple) else np.asarray(seeds)
    except ValueError as error:
        raise InvalidInput(f'the seeds are no points: {error}') from None
    if points.size == 0:
        return np.empty((0, 2), np.int64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InvalidInput(
            f'the seeds have shape {points.shape}; give a tuple (x, y) of two arrays, or (N, 2)'
        )
    if not np.issubdtype(points.dtype, np.integer):
        raise InvalidInput(f'the seeds are {points.dtype}; give whole pixels as integers')
    return points.astype(np.int64)
