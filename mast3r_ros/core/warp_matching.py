# SPDX-License-Identifier: Apache-2.0
"""Matches from a warp: where pixels of view 1 lie in view 2, if the way back agrees."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.pixel_vectors import Pixels, PixelVectors
from mast3r_ros.core.results import FloatArray


def warp_pairs(
    seeds: Pixels,
    warp: PixelVectors,
    warp_back: FloatArray | None,
    size_2: tuple[int, int],
    tolerance_px: float,
) -> tuple[Pixels, FloatArray]:
    """Return the seeds whose way there and back ends where it began, and where they lie in view 2.

    :param seeds: pixels of view 1 that have a place in view 2.
    :param warp: x and y in view 2 of each pixel of view 1.
    :param warp_back: (H2, W2, 2) x and y in view 1 of each pixel of view 2, NaN where there is
        none; None: it is not asked for.
    :param size_2: width and height of view 2.
    :param tolerance_px: the largest distance of end and beginning.
    :returns: pixels of view 1, and (n, 2) x and y in view 2, all inside it.
    """
    xy_2 = warp.take(seeds)
    inside = (xy_2 >= -0.5) & (xy_2 < np.subtract(size_2, 0.5))
    seeds, xy_2 = seeds[inside.all(axis=1)], xy_2[inside.all(axis=1)]
    if warp_back is None:
        return seeds, xy_2
    away = sample_bilinear(warp_back, xy_2) - warp.xy(seeds)
    agrees = np.linalg.norm(away, axis=1) <= tolerance_px
    return seeds[agrees], xy_2[agrees]


def sample_bilinear(field: FloatArray, xy: FloatArray) -> NDArray[Any]:
    """Return the values (n, C) of a field (H, W, C) between its pixels; all points lie inside it.

    Within half a pixel of the border it keeps the border's value. A point that touches a NaN is
    NaN; right on a pixel it touches that one only.
    """
    height, width = field.shape[:2]
    x = np.clip(xy[:, 0], 0, width - 1)
    y = np.clip(xy[:, 1], 0, height - 1)
    left, top = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    right, bottom = np.ceil(x).astype(np.intp), np.ceil(y).astype(np.intp)
    to_right, to_bottom = (x - left)[:, None], (y - top)[:, None]
    upper = field[top, left] * (1 - to_right) + field[top, right] * to_right
    lower = field[bottom, left] * (1 - to_right) + field[bottom, right] * to_right
    return np.asarray(upper * (1 - to_bottom) + lower * to_bottom)
