# SPDX-License-Identifier: Apache-2.0
"""The disparity of the other picture, read off that of the base picture: no further search.

What the way back has confirmed is known in both pictures; a search of its own would have to agree
with it to be believed, and would cost as much as the first.
"""

from __future__ import annotations

import cv2
import numpy as np

from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import MaskArray
from mast3r_ros.engines.geometric.disparity import Disparity

_SURFACE_PX = 1.0  # disparities this much apart belong to different surfaces
_READINGS = 2


def seen_from_other(found: Disparity, seen_base: MaskArray | None) -> Disparity:
    """Return the disparity with the other picture as base; NaN where the base sees nothing of it.

    :param found: of the left picture, so that larger disparities are nearer.
    :param seen_base: which pixels of the left picture are real; None: all.
    """
    values = found.values
    if seen_base is not None:
        values = np.where(seen_base, values, np.float32(np.nan))
    guess = _carried_over(values)
    height, width = values.shape
    column = np.arange(width, dtype=np.float32)
    row = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    # What leads to a pixel's centre lies between pixels: on a slant the first reading tells where.
    disparity = guess
    for _ in range(_READINGS):
        disparity = _read(values, column + disparity, row)
    good = cv2.absdiff(disparity, guess) < _SURFACE_PX
    quality = cv2.remap(found.quality, column + disparity, row, cv2.INTER_NEAREST)
    return Disparity(
        np.where(good, -disparity, np.float32(np.nan)), np.where(good, quality, np.float32(0.0))
    )


def _read(values: FloatArray, x: FloatArray, y: FloatArray) -> FloatArray:
    """Return the values between pixels: blended within a surface, else of the nearest pixel."""
    nearest = cv2.remap(values, x, y, cv2.INTER_NEAREST, borderValue=np.nan)
    blended = cv2.remap(values, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    near = cv2.absdiff(blended, nearest) < _SURFACE_PX
    return np.asarray(np.where(near, blended, nearest), np.float32)


def _carried_over(values: FloatArray) -> FloatArray:
    """Return each disparity at the pixel of the other picture that it leads to; NaN elsewhere."""
    height, width = values.shape
    column = np.rint(np.arange(width, dtype=np.float32) - values)
    inside = (column >= 0.0) & (column < width)
    row_start = np.arange(0, height * width, width)[:, None]
    place = (row_start + np.where(inside, column, np.float32(0.0)).astype(np.int32))[inside]
    # Of several that lead to one pixel the nearest comes last, since it comes from farthest right.
    carried = np.full(height * width, -np.inf, np.float32)
    carried[place] = values[inside]
    carried = carried.reshape(height, width)
    # A surface that the other picture shows wider leaves gaps of a pixel.
    beside = cv2.dilate(carried, np.ones((1, 3), np.uint8))
    carried = np.where(np.isfinite(carried), carried, beside)
    return np.where(np.isfinite(carried), carried, np.float32(np.nan))
