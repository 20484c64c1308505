# SPDX-License-Identifier: Apache-2.0
"""The range of disparities that is searched holds the whole scene, what is nearest above all."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.engines.geometric.disparity import measure
from mast3r_ros.engines.geometric.search import SearchRange, find_range

WIDTH, HEIGHT = 640, 480
FAR_PX, NEAR_PX = 10.0, 90.0  # disparity of the ground, from the top row to the bottom
POSSIBLE = SearchRange.between(0.0, WIDTH / 2)


def texture(seed: int, width: int, height: int) -> NDArray[np.uint8]:
    noise = np.random.default_rng(seed).uniform(0.0, 255.0, (height, width)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 1.2)
    return cv2.normalize(smooth, None, 0.0, 255.0, cv2.NORM_MINMAX).astype(np.uint8)


def ground() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the left and the right picture of a ground that comes nearer row by row."""
    left = texture(0, 2 * WIDTH, HEIGHT)
    x, y = np.meshgrid(np.arange(WIDTH, dtype=np.float32), np.arange(HEIGHT, dtype=np.float32))
    shift = FAR_PX + (NEAR_PX - FAR_PX) * y / (HEIGHT - 1)
    return left[:, :WIDTH].copy(), cv2.remap(left, x + shift, y, cv2.INTER_LINEAR)


def test_a_range_holds_all_of_the_ground() -> None:
    search = find_range(*ground(), POSSIBLE)
    assert search.lowest <= FAR_PX
    assert search.highest >= NEAR_PX
    assert search.count <= 112  # and is no wider than that takes


def test_a_thing_too_small_for_the_coarse_search_is_measured_if_it_is_the_nearest() -> None:
    left, right = ground()
    side_px, nearest_px, x, y = 24, 98, 300, 200  # 0.2 % of the pixels
    patch = texture(1, side_px, side_px)
    left[y : y + side_px, x : x + side_px] = patch
    right[y : y + side_px, x - nearest_px : x - nearest_px + side_px] = patch
    found = measure(left, right, find_range(left, right, POSSIBLE))
    inside = found.values[y + 4 : y + side_px - 4, x + 4 : x + side_px - 4]
    assert np.isfinite(inside).mean() > 0.9
    assert abs(float(np.nanmedian(inside)) - nearest_px) < 0.2
