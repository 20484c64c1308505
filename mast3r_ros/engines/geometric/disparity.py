# SPDX-License-Identifier: Apache-2.0
"""Dense disparity of a base picture, checked: there and back, looks, islands, texture."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mast3r_ros.core.parallel import both
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import MaskArray
from mast3r_ros.engines.geometric.pixels import GrayArray
from mast3r_ros.engines.geometric.quality import Texture, match_quality
from mast3r_ros.engines.geometric.search import (
    SearchRange,
    lands_on,
    search_rows,
    shrunk,
    without_speckles,
)
from mast3r_ros.engines.geometric.subpixel import Refined, refine

_BACK_ROW_STEP = 4  # the way back only confirms: sought on every fourth row of full size
_AGREE_PX = 1.75  # there and back
_NOWHERE_PX = 1e6  # no disparity agrees with it
_SPECKLE_PX = 60  # smaller islands are dropped
_DOUBTFUL_AGREEMENT = 0.25  # of a pixel that only its looks speak for
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
    seen_base: MaskArray | None = None,
    seen_other: MaskArray | None = None,
    back_row_step: int = _BACK_ROW_STEP,
) -> Disparity:
    """Return the checked disparity of the base picture.

    :param seen_base: which pixels are real, and ``seen_other`` of the other picture; None: all.
    :param back_row_step: the way back is sought on every so many rows.
    """
    first = search_rows(base, other, search)
    first[~lands_on(first, seen_other)] = np.nan
    some = slice(None, None, back_row_step)
    (fine, texture), back = both(
        lambda: (refine(first, base, other), Texture.along_rows(base, seen_base)),
        lambda: search_rows(other[some], base[some], search.reversed()),
        most_threads=cv2.getNumThreads(),
    )
    found = _checked(fine, _agreement(fine.values, back, back_row_step), texture)
    weak = np.isnan(found.values) & (texture.strength < _WEAK_ENERGY) & texture.within_reach
    if min(base.shape) >= _MIN_HALVED_PX and np.count_nonzero(weak) > _MANY_WEAK * weak.size:
        half = _half_measured(base, other, search, seen_base, seen_other, back_row_step)
        found = _filled(found, weak, half)
    return found


def _checked(fine: Refined, agreement: FloatArray, texture: Texture) -> Disparity:
    """Drop the disparities that nothing confirms, and small islands.

    What is too thin for the coarse way back is believed if it looks the same in both pictures;
    the matcher's own rough way back has confirmed it before.

    :param agreement: 0 to 1, with the way back.
    """
    confirmed = (agreement > 0.0) | fine.alike
    good = without_speckles(confirmed & texture.within_reach, fine.values, _SPECKLE_PX)
    np.maximum(agreement, np.float32(_DOUBTFUL_AGREEMENT), out=agreement)
    quality = match_quality(agreement, good, texture)
    return Disparity(np.where(good, fine.values, np.float32(np.nan)), quality)


def _agreement(disparity: FloatArray, back: FloatArray, row_step: int) -> FloatArray:
    """Return 1 where there and back agree, falling to one half at the limit and 0 beyond.

    :param back: of every ``row_step``-th row; one between two agrees if one of both does.
    """
    height, width = disparity.shape
    x = np.arange(width, dtype=np.float32) - disparity
    rows = np.arange(height, dtype=np.float32) / row_step
    expected = -disparity
    gaps = []
    for nearest in (np.floor(rows), np.minimum(np.ceil(rows), len(back) - 1)):
        y = np.repeat(nearest[:, None], width, axis=1)
        returned = cv2.remap(back, x, y, cv2.INTER_NEAREST, borderValue=_NOWHERE_PX)
        gaps.append(cv2.absdiff(returned, expected))
    gap = np.asarray(np.fmin(*gaps), np.float32)
    agreement = 1.0 - gap * np.float32(0.5 / _AGREE_PX)
    return np.asarray(np.where(gap <= _AGREE_PX, agreement, np.float32(0.0)))


def _half_measured(
    base: GrayArray,
    other: GrayArray,
    search: SearchRange,
    seen_base: MaskArray | None,
    seen_other: MaskArray | None,
    back_row_step: int,
) -> Disparity:
    """Return the disparity at half the size, where the noise is half as strong."""
    height, width = base.shape
    size = width // 2, height // 2
    half_base, half_other = (
        np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        for image in (base, other)
    )
    half_seen_base, half_seen_other = (
        None if seen is None else shrunk(seen, size) for seen in (seen_base, seen_other)
    )
    half_search = search.scaled(size[0] / width)
    step = max(1, back_row_step // 2)
    return measure(half_base, half_other, half_search, half_seen_base, half_seen_other, step)


def _filled(found: Disparity, weak: MaskArray, half: Disparity) -> Disparity:
    """Take from half the size what full size cannot see."""
    height, width = found.values.shape
    ratio = half.values.shape[1] / width
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
