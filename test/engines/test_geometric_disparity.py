# SPDX-License-Identifier: Apache-2.0
"""What is thin is kept although it is confirmed coarsely; what has no real match is not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mast3r_ros.engines.geometric.disparity import Disparity, measure
from mast3r_ros.engines.geometric.quality import Texture
from mast3r_ros.engines.geometric.search import SearchRange

WIDTH, HEIGHT = 480, 240
WALL_PX, THING_PX = 5, 30  # disparities
NOISE_LEVELS = 2.0
SEARCH = SearchRange.between(0, 47)

Picture = NDArray[np.uint8]


def texture(seed: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 0.6)
    return np.asarray(cv2.normalize(smooth, None, 20.0, 235.0, cv2.NORM_MINMAX), np.float32)


def seen_by_both(is_thing: NDArray[np.bool_]) -> tuple[Picture, Picture]:
    """Return pictures of things before a wall.

    :param is_thing: (HEIGHT, WIDTH) on the left picture.
    """
    wall, thing = texture(1), texture(2)
    left = np.where(is_thing, thing, wall)
    in_right = np.roll(is_thing, -THING_PX, axis=1)
    right = np.where(in_right, np.roll(thing, -THING_PX, axis=1), np.roll(wall, -WALL_PX, axis=1))
    noise = np.random.default_rng(3)
    left, right = (
        np.clip(np.rint(levels + noise.normal(0.0, NOISE_LEVELS, levels.shape)), 0, 255)
        for levels in (left, right)
    )
    return left.astype(np.uint8), right.astype(np.uint8)


def right_share(found: Disparity, where: NDArray[np.bool_], truth_px: float) -> float:
    """Return how many pixels have the true disparity, of all that ``where`` holds."""
    return float((np.abs(found.values - truth_px) < 1.5)[where].mean())


@pytest.mark.parametrize(('width_px', 'least'), [(6, 0.65), (8, 0.8), (12, 0.85)])
def test_upright_poles_are_kept(width_px: int, least: float) -> None:
    poles = np.zeros((HEIGHT, WIDTH), np.bool_)
    for x in range(60, WIDTH - 40, 60):
        poles[:, x : x + width_px] = True
    found = measure(*seen_by_both(poles), SEARCH)
    assert right_share(found, poles, THING_PX) > least


@pytest.mark.parametrize(('height_px', 'least'), [(3, 0.5), (4, 0.7), (6, 0.85)])
def test_bars_between_the_rows_of_the_way_back_are_kept(height_px: int, least: float) -> None:
    bars = np.zeros((HEIGHT, WIDTH), np.bool_)
    for y in range(20, HEIGHT - 20, 21):  # on every remainder of the rows' distance
        bars[y : y + height_px, 100:400] = True
    found = measure(*seen_by_both(bars), SEARCH)
    assert right_share(found, bars, THING_PX) > least


def test_what_only_one_picture_shows_is_left_out() -> None:
    thing = np.zeros((HEIGHT, WIDTH), np.bool_)
    thing[60:180, 200:300] = True
    found = measure(*seen_by_both(thing), SEARCH)
    hidden = np.zeros_like(thing)  # the wall that the thing covers in the right picture
    hidden[60:180, 200 + WALL_PX - THING_PX + 2 : 198] = True
    assert np.isfinite(found.values[hidden]).mean() < 0.15
    assert right_share(found, thing, THING_PX) > 0.9


def test_a_match_on_pixels_that_are_not_real_is_none() -> None:
    left, right = seen_by_both(np.zeros((HEIGHT, WIDTH), np.bool_))
    real = np.ones((HEIGHT, WIDTH), np.bool_)
    real[:, 200:260] = False
    found = measure(left, right, SEARCH, seen_other=real)
    x = np.arange(WIDTH)
    lost = (x - WALL_PX >= 200) & (x - WALL_PX < 260)
    assert not np.isfinite(found.values[:, lost]).any()
    kept = ~lost & (x > 60) & (x < WIDTH - 20)
    assert np.isfinite(found.values[:, kept]).mean() > 0.95


def test_what_lies_beside_the_other_picture_has_no_match() -> None:
    found = measure(*seen_by_both(np.zeros((HEIGHT, WIDTH), np.bool_)), SEARCH)
    assert not np.isfinite(found.values[:, : WALL_PX - 1]).any()
    assert np.isfinite(found.values[:, WALL_PX + 5 : WIDTH - 20]).mean() > 0.95


def test_the_edge_of_what_a_camera_sees_is_no_texture() -> None:
    picture = np.full((HEIGHT, WIDTH), 90, np.uint8)
    real = np.ones((HEIGHT, WIDTH), np.bool_)
    picture[:, 300:], real[:, 300:] = 140, False
    assert Texture.along_rows(picture).within_reach.any()
    assert not Texture.along_rows(picture, real).within_reach.any()
