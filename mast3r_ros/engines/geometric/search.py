# SPDX-License-Identifier: Apache-2.0
"""The semi-global matcher: disparities to about a pixel, and the range to look for them in.

A disparity map belongs to its base picture: the base's pixel x lies at x - disparity in the other
picture, on the same row. NaN is where nothing was found.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import MaskArray
from mast3r_ros.engines.geometric.pixels import GrayArray

_BLOCK_PX = 3
_STEP_COST = 10 * _BLOCK_PX**2  # of a disparity that changes by 1 between neighbours
_JUMP_COST = 36 * _BLOCK_PX**2  # of any larger change
_GRADIENT_CLIP = 31
_FRACTION_BITS = 4
_LARGEST_PX = 2000  # that 16 bits hold with the fraction
_COARSE_FACTOR = 4  # along the rows; across, half as many rows still tell the range
_COARSE_MIN_SIDE_PX = 16
_COARSE_UNIQUENESS_PERCENT = 20
_RARE_FRACTION = 3e-3  # of the coarse pixels: fewer do not widen the range
_COARSE_MARGIN_PX = 1.0  # on both sides of the coarse disparities, in coarse pixels
_NEAR_MARGIN = 0.1  # of their span, besides: what is nearest matters most, and may be small
_COARSE_SPECKLE_PX = 30


@dataclass(frozen=True)
class SearchRange:
    """The disparities that are tried: ``lowest`` to ``lowest + count - 1``."""

    lowest: int
    count: int  # a multiple of 16

    @classmethod
    def between(cls, lowest: float, highest: float) -> SearchRange:
        """Return the smallest range that holds both ends, as far as the matcher can count."""
        first, last = np.clip((lowest, highest), -_LARGEST_PX, _LARGEST_PX)
        first = int(np.floor(first))
        count = int(np.ceil(last)) - first + 1
        return cls(first, max(16, -(-count // 16) * 16))

    @property
    def highest(self) -> int:
        """The largest disparity that is tried."""
        return self.lowest + self.count - 1

    def reversed(self) -> SearchRange:
        """Return the range for the other picture as base."""
        return SearchRange(-self.highest, self.count)

    def scaled(self, ratio: float) -> SearchRange:
        """Return the range in a picture ``ratio`` times as wide."""
        return SearchRange.between(self.lowest * ratio, self.highest * ratio)


def find_range(
    left: GrayArray,
    right: GrayArray,
    possible: SearchRange,
    seen_left: MaskArray | None = None,
    seen_right: MaskArray | None = None,
) -> SearchRange:
    """Return the range that the scene fills, by a coarse search over all that is possible.

    :param seen_left: which pixels are real, and ``seen_right`` of the right picture; None: all.
    """
    height, width = left.shape
    size = width // _COARSE_FACTOR, height // (2 * _COARSE_FACTOR)
    if min(size) < _COARSE_MIN_SIDE_PX:
        return possible
    coarse_left, coarse_right = (
        np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        for image in (left, right)
    )
    ratio = size[0] / width
    coarse = search_rows(
        coarse_left, coarse_right, possible.scaled(ratio), _COARSE_UNIQUENESS_PERCENT
    )
    good = without_speckles(np.isfinite(coarse), coarse, _COARSE_SPECKLE_PX)
    if seen_left is not None:
        good &= shrunk(seen_left, size)
    good &= lands_on(coarse, None if seen_right is None else shrunk(seen_right, size))
    if not good.any():
        return possible
    rare = (_RARE_FRACTION, 1.0 - _RARE_FRACTION)
    low, high = np.quantile(coarse[good], rare, method='nearest')
    farthest = low - _COARSE_MARGIN_PX
    nearest = high + _COARSE_MARGIN_PX + _NEAR_MARGIN * (high - low)
    lowest = max(possible.lowest, farthest / ratio)
    return SearchRange.between(lowest, min(possible.highest, nearest / ratio))


def lands_on(disparity: FloatArray, seen_other: MaskArray | None) -> MaskArray:
    """Return which pixels match one that lies in the other picture and is real.

    :param seen_other: which pixels are real; None: all.
    """
    height, width = disparity.shape
    x = np.arange(width, dtype=np.float32) - disparity
    if seen_other is None:
        return np.asarray((x > -0.5) & (x < width - 0.5))
    y = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    return np.asarray(cv2.remap(seen_other.astype(np.uint8), x, y, cv2.INTER_NEAREST) != 0)


def shrunk(seen: MaskArray, size: tuple[int, int]) -> MaskArray:
    """Return which pixels are real of the picture at another size (width, height)."""
    small = cv2.resize(seen.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(small != 0)


def search_rows(
    base: GrayArray,
    other: GrayArray,
    search: SearchRange,
    uniqueness_percent: int = 0,
) -> FloatArray:
    """Return the disparity of each pixel of the base picture; margins keep every border.

    The matcher drops what its own rough way back does not confirm.

    :param uniqueness_percent: how much worse the second best must be.
    """
    left = max(0, search.lowest + search.count)
    right = max(0, -search.lowest)
    base, other = (
        np.asarray(cv2.copyMakeBorder(image, 0, 0, left, right, cv2.BORDER_REPLICATE), np.uint8)
        for image in (base, other)
    )
    matcher = cv2.StereoSGBM.create(
        minDisparity=search.lowest,
        numDisparities=search.count,
        blockSize=_BLOCK_PX,
        P1=_STEP_COST,
        P2=_JUMP_COST,
        disp12MaxDiff=1,
        preFilterCap=_GRADIENT_CLIP,
        uniquenessRatio=uniqueness_percent,
        mode=cv2.STEREO_SGBM_MODE_SGBM_3WAY,
    )
    found = matcher.compute(base, other)[:, left : base.shape[1] - right]
    values = found.astype(np.float32) * np.float32(1.0 / (1 << _FRACTION_BITS))
    values[values < search.lowest] = np.nan
    return np.asarray(values, np.float32)


def without_speckles(good: MaskArray, disparity: FloatArray, smallest_px: int) -> MaskArray:
    """Return ``good`` without islands of disparity of fewer pixels."""
    scale = 1 << _FRACTION_BITS
    nothing = np.iinfo(np.int16).min
    islands = np.where(good, disparity * np.float32(scale), np.float32(nothing)).astype(np.int16)
    cv2.filterSpeckles(islands, nothing, smallest_px, scale)
    return np.asarray(islands != nothing)
