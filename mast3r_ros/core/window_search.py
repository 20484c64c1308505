# SPDX-License-Identifier: Apache-2.0
"""Nearest neighbours in a small window around a guess; among all pixels where there is none."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.nearest import NearestSearch, SimilaritySearch
from mast3r_ros.core.pixel_vectors import Pixels, PixelVectors

Places = NDArray[np.float32]  # (2, pixels) x and y, NaN where there is none

_WINDOW_ROWS = 1 << 16  # read at a time, about 6 MB at 24 channels
_COARSE_STEP = 4


class Guesses(Protocol):
    """Knows where the partner of a pixel likely is."""

    def __call__(self, queries: PixelVectors, pixels: Pixels) -> Places:
        """Return a likely place in the searched view for each of some pixels of the other."""


class KnownGuesses:
    """Guesses that somebody made for every pixel.

    :param places: for each pixel of the other view, row-major.
    """

    def __init__(self, places: Places) -> None:
        self._places = places

    def __call__(self, queries: PixelVectors, pixels: Pixels) -> Places:
        """Return the places of some pixels."""
        return self._places[:, pixels]


class CoarseGuesses:
    """The best among few pixels of a view: every fourth row and column, or more of them.

    It serves where descriptors side by side are alike.

    :param radius_px: of the window that is searched next; it must hold what lies between.
    """

    def __init__(self, targets: PixelVectors, radius_px: int) -> None:
        self._step = max(1, min(_COARSE_STEP, radius_px, targets.width, targets.height))
        self._start = self._step // 2
        self._search = SimilaritySearch(targets.thinned(self._start, self._step))

    def __call__(self, queries: PixelVectors, pixels: Pixels) -> Places:
        """Return where the best of the few is, nowhere if none of them takes part."""
        few = self._search.targets
        if len(few.pixels) == 0:
            return np.full((2, len(pixels)), np.nan, np.float32)
        best = self._search.nearest(queries, pixels)
        places = np.stack([best % few.width, best // few.width]) * self._step + self._start
        return np.asarray(places, np.float32)


class WindowSearch:
    """Finds the pixel with the highest dot product in a window of one view.

    :param whole_view: searches for pixels without a guess inside the view, and for those in whose
        window no pixel takes part.
    :param radius_px: how far the window reaches to all sides; at a border it is moved inside.
    """

    def __init__(self, whole_view: NearestSearch, guesses: Guesses, radius_px: int) -> None:
        self.targets = targets = whole_view.targets
        self._whole_view = whole_view
        self._guesses = guesses
        self._radius_px = radius_px
        side = 2 * radius_px + 1
        self._size = min(side, targets.width), min(side, targets.height)

    def nearest(
        self, queries: PixelVectors, pixels: Pixels, guesses: Pixels | None = None
    ) -> Pixels:
        """Return the best target of each of some query pixels; a target must take part at all."""
        found = np.full(len(pixels), -1, np.intp)
        guided, corner = self._corners(self._guesses(queries, pixels))
        width, height = self._size
        y, x = np.mgrid[0:height, 0:width]
        offsets = (y * self.targets.width + x).ravel()
        step = max(1, _WINDOW_ROWS // len(offsets))
        for start in range(0, len(guided), step):
            some = guided[start : start + step]
            windows = corner[start : start + step, None] + offsets
            found[some] = self._best(queries, pixels[some], windows)
        left = np.flatnonzero(found < 0)
        likely = None if guesses is None else guesses[left]
        found[left] = self._whole_view.nearest(queries, pixels[left], likely)
        return found

    def _corners(self, places: Places) -> tuple[Pixels, Pixels]:
        """Return which places are inside, and the first pixel of the window around each."""
        view = self.targets
        x, y = places
        with np.errstate(invalid='ignore'):
            inside = (x > -0.5) & (x < view.width - 0.5) & (y > -0.5) & (y < view.height - 0.5)
        guided = np.flatnonzero(inside)
        middle = np.rint(places[:, guided]).astype(np.intp)
        last = np.array([[view.width - self._size[0]], [view.height - self._size[1]]])
        left, top = np.clip(middle - self._radius_px, 0, last)
        return guided, top * view.width + left

    def _best(self, queries: PixelVectors, pixels: Pixels, windows: Pixels) -> Pixels:
        """Return the best pixel of each window, the earliest of equals; -1 where none takes part.

        :param windows: (pixels, pixels of a window), ascending.
        """
        vectors = queries.take(pixels)
        inside = self.targets.take(windows.ravel()).reshape(*windows.shape, -1)
        out = ~self.targets.takes_part[windows]
        inside[out] = 0.0  # whatever stands there, such as NaN
        scores = np.matmul(inside, vectors[:, :, None])[..., 0]
        scores[out] = -np.inf
        column = scores.argmax(axis=1)[:, None]
        best = np.take_along_axis(windows, column, axis=1)[:, 0]
        return np.asarray(np.where(self.targets.takes_part[best], best, -1))
