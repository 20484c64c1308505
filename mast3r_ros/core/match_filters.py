# SPDX-License-Identifier: Apache-2.0
"""Which matches are kept: away from the borders, confident enough, and spread over the view."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.config import MatchingConfig
from mast3r_ros.core.pixel_vectors import Pixels
from mast3r_ros.core.results import IndexArray, MatchResult

Size = tuple[int, int]  # width, height in pixels


def filter_matches(
    matches: MatchResult, matching: MatchingConfig, size_1: Size, size_2: Size
) -> MatchResult:
    """Return the matches that the settings keep, in the order they came.

    A match without a number as confidence is dropped.
    """
    kept = off_border(matches.idx_1, size_1, matching.border_px)
    kept &= off_border(matches.idx_2, size_2, matching.border_px)
    kept &= matches.confidence >= matching.confidence_threshold
    matches = matches.select(kept)
    return matches.select(spread_rows(matches, size_1, matching.top_k))


def off_border(pixels: IndexArray, size: Size, border_px: int) -> NDArray[np.bool_]:
    """Return which pixels have at least ``border_px`` pixels between them and every border."""
    width, height = size
    y, x = np.divmod(pixels, width)
    across = (x >= border_px) & (x < width - border_px)
    down = (y >= border_px) & (y < height - border_px)
    return np.asarray(across & down)


def spread_rows(matches: MatchResult, size_1: Size, top_k: int) -> Pixels:
    """Return the rows of at most ``top_k`` matches, ascending; 0 keeps all.

    View 1 is divided into about ``top_k`` square cells. Each gives its most confident match, then
    each its second, and so on; in the round that has too many, the most confident go first.
    Equals go in the order they came.
    """
    count = len(matches)
    if not 0 < top_k < count:
        return np.arange(count)
    width, height = size_1
    side = math.sqrt(width * height / top_k)
    y, x = np.divmod(matches.idx_1, width)
    cell = (y // side).astype(np.intp) * width + (x // side).astype(np.intp)
    rank = _rank_in_group(cell, -matches.confidence)
    order = np.lexsort((-matches.confidence, rank))
    return np.sort(order[:top_k])


def _rank_in_group(group: Pixels, key: NDArray[np.float32]) -> Pixels:
    """Return the place of each row within its group by ascending key."""
    order = np.lexsort((key, group))
    ordered = group[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    sizes = np.diff(np.r_[first, len(order)])
    rank = np.empty(len(order), np.intp)
    rank[order] = np.arange(len(order)) - np.repeat(first, sizes)
    return rank
