# SPDX-License-Identifier: Apache-2.0
"""Pictures are resampled by the published rules, and each of their places stays known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from support.network_grid import grid_places, small_model, smooth_picture, wave_color

from mast3r_ros.config import ResizeFilter
from mast3r_ros.core.preprocessing import plan_for_model, scale_image, to_grid
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput

PLACES = [
    pytest.param(size, resolution, id=f'{size[0]}x{size[1]} at {resolution}')
    for size, resolution in [
        ((640, 480), 336),
        ((480, 640), 336),
        ((1241, 376), 336),
        ((200, 200), 336),
        ((150, 110), 224),
        ((110, 150), 448),
        ((97, 89), 112),
        ((336, 252), 336),
    ]
]


def test_a_plan_for_another_size_is_refused() -> None:
    plan = plan_for_model(640, 480, small_model(336))
    with pytest.raises(InvalidInput, match='640x480 but this one is 480x640'):
        to_grid(View(np.zeros((640, 480, 3), np.uint8)), plan)


@pytest.mark.parametrize('resize', list(ResizeFilter))
@pytest.mark.parametrize(('size', 'resolution'), PLACES)
def test_the_resampled_picture_lies_where_to_image_says(
    size: tuple[int, int], resolution: int, resize: ResizeFilter
) -> None:
    plan = plan_for_model(*size, small_model(resolution))
    grid = to_grid(View(smooth_picture(*size)), plan, resize)
    assert grid.image.shape == (plan.grid_size[1], plan.grid_size[0], 3)
    assert grid.image.dtype == np.uint8
    uv = grid.to_image(grid_places(plan))
    margin = 4.0 * max(1.0, 1.0 / min(plan.scale))  # the kernels see the picture's edge there
    inside = ((uv > margin) & (uv < np.array(size) - 1 - margin)).all(axis=-1)
    expected = wave_color(uv[..., 0], uv[..., 1], *size)
    error = np.abs(grid.image - expected)[inside]
    half_a_pixel_off = 0.5 * 120 * 8 * np.pi / max(plan.scaled_size)
    assert inside.mean() > 0.5
    assert error.max() < 0.75 * half_a_pixel_off
    assert error.mean() < 0.75


@pytest.mark.parametrize(('size', 'resolution'), PLACES)
def test_official_resampling_is_pillow_s(size: tuple[int, int], resolution: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    plan = plan_for_model(*size, small_model(resolution))
    shrinks = max(size) > max(plan.scaled_size)
    kernel = Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC
    scaled = Image.fromarray(picture).resize(plan.scaled_size, kernel)
    (x, y), (width, height) = plan.crop_offset, plan.grid_size
    expected = np.asarray(scaled.crop((x, y, x + width, y + height)))
    np.testing.assert_array_equal(to_grid(View(picture), plan).image, expected)


def test_a_picture_of_the_right_size_is_left_as_it_is() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (252, 336, 3), np.uint8)
    for resize in ResizeFilter:
        plan = plan_for_model(336, 252, small_model(336))
        np.testing.assert_array_equal(to_grid(View(picture), plan, resize).image, picture)


@pytest.mark.parametrize('resize', list(ResizeFilter))
def test_flipped_and_sliced_pictures_are_taken_like_any_other(resize: ResizeFilter) -> None:
    picture = smooth_picture(400, 300)
    flipped = picture[::2, ::-1]
    plan = plan_for_model(400, 150, small_model(112))
    from_slice = to_grid(View(flipped), plan, resize).image
    from_copy = to_grid(View(flipped.copy()), plan, resize).image
    np.testing.assert_array_equal(from_slice, from_copy)


@pytest.mark.parametrize('size', [(1, 1), (2, 3), (5, 4)])
@pytest.mark.parametrize('resize', list(ResizeFilter))
def test_tiny_pictures_are_enlarged(size: tuple[int, int], resize: ResizeFilter) -> None:
    plan = plan_for_model(*size, small_model(112))
    image = to_grid(View(np.full((size[1], size[0], 3), 77, np.uint8)), plan, resize).image
    assert (image == 77).all()


def test_fast_resampling_stays_near_the_official() -> None:
    picture = smooth_picture(640, 480)
    official = scale_image(picture, (336, 252), ResizeFilter.OFFICIAL).astype(int)
    fast = scale_image(picture, (336, 252), ResizeFilter.FAST)
    assert np.abs(official - fast).max() <= 3
