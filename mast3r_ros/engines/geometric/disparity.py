# SPDX-License-Identifier: Apache-2.0
"""Dense disparity of a base picture, checked: there and back, islands, texture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mast3r_ros.core.parallel import both
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import MaskArray
from mast3r_ros.engines.geometric.pixels import GrayArray
from mast3r_ros.engines.geometric.quality import Texture, match_quality, mean, share
from mast3r_ros.engines.geometric.search import SearchRange, search_rows, without_speckles
from mast3r_ros.engines.geometric.subpixel import refine

_BACK_STEP = 2  # the way back is sought on every second row, at half the width
_AGREE_PX = 1.75  # there and back
_NOWHERE_PX = 1e6  # no disparity agrees with it
_SPECKLE_PX = 60  # smaller islands are dropped
_NEIGHBOUR_PX = 5
_NEIGHBOUR_SHARE = 0.3  # of good neighbours that brings a doubtful pixel back
_NEIGHBOUR_AGREEMENT = 0.25  # of a pixel that only its neighbours speak for
_WEAK_ENERGY = 2.0  # squared grey levels a pixel: below, noise decides at full size
_MANY_WEAK = 0.1  # of the pixels lost for weak texture: worth another search at half the size
_MIN_HALVED_PX = 128  # shortest side of a picture worth halving
_HALF_QUALITY = 0.5  # what half the size must be sure of, and what it counts here


@dataclass(frozen=True, eq=False)
class Disparity:
    """A checked disparity map.

    :param values: (H, W) pixels; NaN where there is none.
    :param quality: (H, W) from 0 to 1.
    """

    values: FloatArray
    quality: FloatArray


def measure(
    base: GrayArray,
    other: GrayArray,
    search: SearchRange,
    seen_other: MaskArray | None,
) -> Disparity:
    """Return the checked disparity of the base picture.

    :param seen_other: which pixels of the other picture are real; None: all.
    """
    first = search_rows(base, other, search)
    (fine, texture), back = both(
        lambda: (refine(first, base, other), Texture.along_rows(base)),
        lambda: _way_back(base, other, search, seen_other),
    )
    found = _checked(first, fine, back, texture)
    weak = np.isnan(found.values) & (texture.strength < _WEAK_ENERGY) & texture.within_reach
    if min(base.shape) >= _MIN_HALVED_PX and np.count_nonzero(weak) > _MANY_WEAK * weak.size:
        found = _filled(found, weak, base, other, search, seen_other)
    return found


def _way_back(
    base: GrayArray, other: GrayArray, search: SearchRange, seen_other: MaskArray | None
) -> FloatArray:
    """Return the disparity of the other picture, in pixels of it, coarse: it only confirms.

    Every ``_BACK_STEP``-th row at half the width costs a quarter of a search, and hardly a match.
    """
    width = other.shape[1]
    rows = slice(None, None, _BACK_STEP)
    size = max(1, width // _BACK_STEP), len(other[rows])
    small_base, small_other = (
        np.asarray(cv2.resize(image[rows], size, interpolation=cv2.INTER_AREA), np.uint8)
        for image in (base, other)
    )
    ratio = size[0] / width
    back = search_rows(small_other, small_base, search.scaled(ratio).reversed())
    back *= np.float32(1.0 / ratio)
    if seen_other is not None:
        seen = cv2.resize(seen_other[rows].astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        back[seen == 0] = np.nan
    return back


def _checked(first: FloatArray, fine: FloatArray, back: FloatArray, texture: Texture) -> Disparity:
    """Drop the disparities that the way back does not confirm, and small islands.

    :param first: to the pixel, and ``fine`` below it.
    """
    agreement = _agreement(fine, back)
    good = without_speckles((agreement > 0.0) & texture.within_reach, fine, _SPECKLE_PX)
    good |= _fits_neighbours(first, fine, good) & texture.within_reach
    np.maximum(agreement, np.float32(_NEIGHBOUR_AGREEMENT), out=agreement)
    quality = match_quality(agreement, good, texture)
    return Disparity(np.where(good, fine, np.float32(np.nan)), quality)


def _agreement(disparity: FloatArray, back: FloatArray) -> FloatArray:
    """Return 1 where there and back agree, falling to one half at the limit and 0 beyond.

    :param back: of :func:`_way_back`; a row between two of it agrees if one of both does.
    """
    height, width = disparity.shape
    ratio = np.float32(back.shape[1] / width)
    column = (np.arange(width, dtype=np.float32) + np.float32(0.5)) * ratio - np.float32(0.5)
    x = column - disparity * ratio
    rows = np.arange(height, dtype=np.float32) / _BACK_STEP
    expected = -disparity
    gaps = []
    for nearest in (np.floor(rows), np.minimum(np.ceil(rows), len(back) - 1)):
        y = np.repeat(nearest[:, None], width, axis=1)
        returned = cv2.remap(back, x, y, cv2.INTER_NEAREST, borderValue=_NOWHERE_PX)
        gaps.append(cv2.absdiff(returned, expected))
    gap = np.asarray(np.fmin(*gaps), np.float32)
    agreement = 1.0 - gap * np.float32(0.5 / _AGREE_PX)
    return np.asarray(np.where(gap <= _AGREE_PX, agreement, np.float32(0.0)))


def _fits_neighbours(first: FloatArray, fine: FloatArray, good: MaskArray) -> MaskArray:
    """Return the pixels whose own disparity is within 1 of the mean of their good neighbours."""
    good_share = share(good, _NEIGHBOUR_PX)
    total = mean(np.where(good, fine, np.float32(0.0)), _NEIGHBOUR_PX)
    near = cv2.absdiff(first * good_share, total) < good_share
    return np.asarray(near & (good_share > _NEIGHBOUR_SHARE))


def _filled(
    found: Disparity,
    weak: MaskArray,
    base: GrayArray,
    other: GrayArray,
    search: SearchRange,
    seen_other: MaskArray | None,
) -> Disparity:
    """Take from half the size, where the noise is half as strong, what full size cannot see."""
    height, width = base.shape
    size = width // 2, height // 2
    ratio = size[0] / width
    half_base, half_other = (
        np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        for image in (base, other)
    )
    half_seen = None
    if seen_other is not None:
        seen = cv2.resize(seen_other.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        half_seen = np.asarray(seen != 0)
    half = measure(half_base, half_other, search.scaled(ratio), half_seen)
    sure = np.where(half.quality > _HALF_QUALITY, half.values, np.float32(np.nan))
    nearest, blended = (
        np.asarray(cv2.resize(sure, (width, height), interpolation=rule), np.float32)
        for rule in (cv2.INTER_NEAREST, cv2.INTER_LINEAR)
    )
    values = np.where(np.abs(blended - nearest) < 1.0, blended, nearest) / np.float32(ratio)
    quality = cv2.resize(half.quality, (width, height), interpolation=cv2.INTER_LINEAR)
    weak = weak & np.isfinite(values)
    return Disparity(
        np.where(weak, values, found.values),
        np.where(weak, np.float32(_HALF_QUALITY) * quality, found.quality),
    )
