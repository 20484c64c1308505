# SPDX-License-Identifier: Apache-2.0
"""Dense disparity of a base picture, checked: there and back, islands, texture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import MaskArray
from mast3r_ros.engines.geometric.pixels import GrayArray
from mast3r_ros.engines.geometric.quality import Texture, match_quality, mean
from mast3r_ros.engines.geometric.search import SearchRange, search_rows, without_speckles
from mast3r_ros.engines.geometric.subpixel import refine

_CHECK_ROW_STEP = 2  # the way back is sought on every second row: half the cost, hardly a loss
_AGREE_PX = 1.25  # there and back
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
    rows = slice(None, None, _CHECK_ROW_STEP)
    back = search_rows(other[rows], base[rows], search.reversed())
    if seen_other is not None:
        back = np.where(seen_other[rows], back, np.float32(np.nan))
    texture = Texture.along_rows(base)
    found = _checked(first, back, base, other, texture)
    weak = np.isnan(found.values) & (texture.strength < _WEAK_ENERGY) & texture.within_reach
    if min(base.shape) >= _MIN_HALVED_PX and np.count_nonzero(weak) > _MANY_WEAK * weak.size:
        found = _filled(found, weak, base, other, search, seen_other)
    return found


def _checked(
    first: FloatArray, back: FloatArray, base: GrayArray, other: GrayArray, texture: Texture
) -> Disparity:
    """Refine disparities below the pixel and drop what the way back does not confirm."""
    fine = refine(first, base, other)
    agreement = _agreement(fine, back)
    good = without_speckles((agreement > 0.0) & texture.within_reach, fine, _SPECKLE_PX)
    good |= _fits_neighbours(first, fine, good) & texture.within_reach
    np.maximum(agreement, np.float32(_NEIGHBOUR_AGREEMENT), out=agreement)
    quality = match_quality(agreement, good, texture)
    return Disparity(np.where(good, fine, np.float32(np.nan)), quality)


def _agreement(disparity: FloatArray, back: FloatArray) -> FloatArray:
    """Return 1 where there and back agree, falling to one half at the limit and 0 beyond.

    :param back: every ``_CHECK_ROW_STEP``-th row; a row between agrees if one of both next does.
    """
    height, width = disparity.shape
    x = np.arange(width, dtype=np.float32) - disparity
    rows = np.arange(height, dtype=np.float32) / _CHECK_ROW_STEP
    gaps = []
    for nearest in (np.floor(rows), np.minimum(np.ceil(rows), len(back) - 1)):
        y = np.repeat(nearest[:, None], width, axis=1)
        returned = cv2.remap(back, x, y, cv2.INTER_NEAREST, borderValue=_NOWHERE_PX)
        gaps.append(cv2.absdiff(returned, -disparity))
    gap = np.asarray(np.fmin(*gaps), np.float32)
    agreement = 1.0 - gap * np.float32(0.5 / _AGREE_PX)
    return np.asarray(np.where(gap <= _AGREE_PX, agreement, np.float32(0.0)))


def _fits_neighbours(first: FloatArray, fine: FloatArray, good: MaskArray) -> MaskArray:
    """Return the pixels whose own disparity is within 1 of the mean of their good neighbours."""
    share = mean(good.astype(np.float32), _NEIGHBOUR_PX)
    total = mean(np.where(good, fine, np.float32(0.0)), _NEIGHBOUR_PX)
    near = cv2.absdiff(first * share, total) < share
    return np.asarray(near & (share > _NEIGHBOUR_SHARE))


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
