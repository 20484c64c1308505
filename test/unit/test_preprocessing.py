# SPDX-License-Identifier: Apache-2.0
"""Images come onto the network's pixels by the published rules, and nothing loses its place."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mast3r_ros.config import ModelConfig, ModelVariant, ResizeFilter
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.preprocessing import (
    GridPlan,
    plan_for_model,
    plan_for_shape,
    plan_official,
    scale_image,
    to_grid,
    whole_patches,
)
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput

# (input) -> network input for 512/16, 518/14, 448/14 and 336/14, all width x height.
OFFICIAL = {
    (640, 480): [(512, 384), (518, 378), (448, 336), (336, 252)],
    (1280, 720): [(512, 288), (518, 280), (448, 252), (336, 182)],
    (752, 480): [(512, 320), (518, 322), (448, 280), (336, 210)],
    (1241, 376): [(512, 144), (518, 154), None, None],
    (600, 600): [(512, 384), (518, 518), (448, 448), (336, 336)],
    (480, 640): [(384, 512), (378, 518), (336, 448), (252, 336)],
}
RULES = [(512, 16), (518, 14), (448, 14), (336, 14)]
ROWS = [
    (size, rule, expected)
    for size, row in OFFICIAL.items()
    for rule, expected in zip(RULES, row, strict=True)
    if expected is not None
]
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


def smooth_picture(width: int, height: int) -> np.ndarray:
    """Return waves whose colour at any place is known: four across the width and the height."""
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    return np.rint(wave_color(u, v, width, height)).astype(np.uint8)


def wave_color(u, v, width: int, height: int) -> np.ndarray:
    across = 127.5 + 120.0 * np.sin(8.0 * np.pi * (u + 0.5) / width)
    down = 127.5 + 120.0 * np.sin(8.0 * np.pi * (v + 0.5) / height)
    return np.stack([across, down, (across + down) / 2], axis=-1)


def grid_places(plan: GridPlan) -> np.ndarray:
    u, v = np.meshgrid(np.arange(plan.grid_size[0]), np.arange(plan.grid_size[1]))
    return np.stack([u, v], axis=-1).astype(float)


def small_model(resolution: int, **changes) -> ModelConfig:
    return ModelConfig(variant='dune_vit_small', resolution=resolution, **changes)


def planned_or_refused(width: int, height: int, model: ModelConfig) -> GridPlan | InvalidInput:
    try:
        return plan_for_model(width, height, model)
    except InvalidInput as error:
        return error


@pytest.mark.parametrize(('size', 'rule', 'expected'), ROWS)
def test_the_official_shape_comes_out(size, rule, expected) -> None:
    resolution, patch_px = rule
    plan = plan_official(*size, resolution, patch_px, square_stays_square=patch_px == 14)
    assert plan.grid_size == expected


def test_an_image_that_becomes_square_by_rounding_is_cut_like_a_square() -> None:
    plan = plan_official(2000, 1999, 512, 16, square_stays_square=False)
    assert plan.scaled_size == (512, 512)
    assert plan.grid_size == (512, 384)


@pytest.mark.parametrize(
    ('variant', 'resolution', 'size', 'expected'),
    [
        ('mast3r_vit_large', None, (640, 480), (512, 384)),
        ('mast3r_vit_large', 512, (600, 600), (512, 384)),
        ('dune_vit_small', None, (640, 480), (336, 252)),
        ('dune_vit_base', None, (640, 480), (448, 336)),
        ('dune_vit_base', None, (600, 600), (448, 448)),
        ('dust3r_224_linear', None, (640, 480), (224, 224)),
    ],
)
def test_each_network_s_own_rule_is_taken(variant, resolution, size, expected) -> None:
    model = ModelConfig(variant=variant, resolution=resolution)
    assert plan_for_model(*size, model).grid_size == expected


@pytest.mark.parametrize(
    ('size', 'scaled', 'offset'),
    [
        ((640, 480), (299, 224), (37, 0)),
        ((480, 640), (224, 299), (0, 37)),
        ((300, 300), (224, 224), (0, 0)),
        ((100, 50), (448, 224), (112, 0)),
    ],
)
def test_at_224_the_short_side_fits_and_the_centre_square_is_cut(size, scaled, offset) -> None:
    plan = plan_official(*size, 224, 16, square_stays_square=False)
    assert (plan.scaled_size, plan.crop_offset) == (scaled, offset)
    assert plan.grid_size == (224, 224)


@given(st.integers(1, 1500), st.integers(1, 1500))
def test_at_224_the_shape_is_224_for_every_image(width: int, height: int) -> None:
    plan = plan_official(width, height, 224, 16, square_stays_square=False)
    assert plan.grid_size == (224, 224)


@pytest.mark.parametrize(
    ('wanted', 'variant', 'used'), [(518, 'mast3r_vit_large', 512), (256, 'dune_vit_small', 252)]
)
def test_a_resolution_that_is_no_multiple_of_the_patch_is_rounded_down_and_said(
    wanted: int, variant: str, used: int, caplog: pytest.LogCaptureFixture
) -> None:
    whole_patches.cache_clear()
    model = ModelConfig(variant=variant, resolution=wanted)
    with caplog.at_level(logging.WARNING):
        plans = [plan_for_model(640, 480, model) for _ in range(3)]
    assert plans[0].grid_size[0] == used
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 1
    assert str(wanted) in said[0]
    assert str(used) in said[0]


@pytest.mark.parametrize('variant', list(ModelVariant))
def test_a_default_resolution_needs_no_rounding(
    variant: ModelVariant, caplog: pytest.LogCaptureFixture
) -> None:
    whole_patches.cache_clear()
    plan_for_model(640, 480, ModelConfig(variant=variant))
    assert not caplog.records


@given(
    st.integers(1, 4000),
    st.integers(1, 4000),
    st.sampled_from(list(ModelVariant)),
    st.integers(112, 1024),
)
def test_any_aspect_gives_whole_patches_cut_from_the_centre_or_a_sentence(
    width: int, height: int, variant: ModelVariant, resolution: int
) -> None:
    model = ModelConfig(variant=variant, resolution=resolution)
    patch_px = variant.patch_px
    plan = planned_or_refused(width, height, model)
    if isinstance(plan, InvalidInput):
        assert f'{width}x{height}' in str(plan)
        assert max(width, height) / min(width, height) > (resolution // patch_px) / 1.6
        return
    for axis in (0, 1):
        left = plan.crop_offset[axis]
        right = plan.scaled_size[axis] - left - plan.grid_size[axis]
        assert plan.grid_size[axis] % patch_px == 0
        assert left >= 0
        assert right - left in (0, 1)
    if resolution // patch_px * patch_px != 224:
        used = resolution // patch_px * patch_px
        ratio = used / max(width, height)
        scaled = np.array([width, height]) * ratio
        assert max(plan.scaled_size) == used
        assert np.abs(plan.scaled_size - scaled).max() <= 0.5001
        shorter = 0 if width < height else 1
        if width != height or variant.square_stays_square:
            assert plan.scaled_size[shorter] - plan.grid_size[shorter] < 2 * patch_px


def test_an_image_far_too_long_is_refused_with_the_cure() -> None:
    with pytest.raises(InvalidInput, match=r'4000x10 becomes 336x1 .* crop it') as caught:
        plan_for_model(4000, 10, small_model(336))
    assert '24:1' in str(caught.value)


@given(
    st.integers(1, 1500),
    st.integers(1, 1500),
    st.integers(1, 20),
    st.integers(1, 20),
    st.sampled_from([14, 16]),
)
def test_an_exact_shape_is_reached_by_covering_it_and_cutting_the_centre(
    width: int, height: int, rows: int, columns: int, patch_px: int
) -> None:
    shape = (rows * patch_px, columns * patch_px)
    plan = plan_for_shape(width, height, shape, patch_px)
    assert plan.grid_size == (shape[1], shape[0])
    ratio = max(shape[1] / width, shape[0] / height)
    assert np.abs(np.array(plan.scaled_size) - np.array([width, height]) * ratio).max() <= 0.5001
    margins = [plan.scaled_size[axis] - plan.grid_size[axis] for axis in (0, 1)]
    assert min(margins) == 0
    assert all(margin >= 0 for margin in margins)
    assert plan.crop_offset == (margins[0] // 2, margins[1] // 2)


def test_an_exact_shape_overrides_the_resolution() -> None:
    plan = plan_for_model(640, 480, small_model(336, shape=(224, 448)))
    assert plan.grid_size == (448, 224)


@pytest.mark.parametrize('shape', [(250, 336), (252, 337), (-14, 14), (7, 14)])
def test_an_exact_shape_of_broken_patches_is_refused(shape) -> None:
    with pytest.raises(InvalidInput, match=r'height x width.*multiples of the patch of 14 px'):
        plan_for_model(640, 480, small_model(336, shape=shape))


def test_a_plan_for_another_size_is_refused() -> None:
    plan = plan_for_model(640, 480, small_model(336))
    with pytest.raises(InvalidInput, match='640x480 but this one is 480x640'):
        to_grid(View(np.zeros((640, 480, 3), np.uint8)), plan)


@pytest.mark.parametrize('resize', list(ResizeFilter))
@pytest.mark.parametrize(('size', 'resolution'), PLACES)
def test_the_resampled_picture_lies_where_to_image_says(size, resolution, resize) -> None:
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
def test_official_resampling_is_pillow_s(size, resolution) -> None:
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
def test_tiny_pictures_are_enlarged(size, resize: ResizeFilter) -> None:
    plan = plan_for_model(*size, small_model(112))
    image = to_grid(View(np.full((size[1], size[0], 3), 77, np.uint8)), plan, resize).image
    assert (image == 77).all()


@settings(max_examples=50)
@given(
    st.integers(150, 900), st.integers(150, 900), st.sampled_from([112, 224, 336]), st.booleans()
)
def test_a_camera_on_the_grid_sees_each_point_where_to_grid_puts_its_pixel(
    width: int, height: int, resolution: int, bent: bool
) -> None:
    distortion = (-0.1, 0.02, 0.001, -0.002) if bent else ()
    camera = Camera.pinhole(width, height, 300.0, 310.0, width / 2.3, height / 1.9, distortion)
    view = View(np.zeros((height, width, 3), np.uint8), camera)
    grid = to_grid(view, plan_for_model(width, height, small_model(resolution)))
    points = np.random.default_rng(1).uniform((-0.5, -0.5, 1), (0.5, 0.5, 3), (20, 3))
    expected = grid.to_grid(camera.project(points))
    assert grid.camera is not None
    np.testing.assert_allclose(grid.camera.project(points), expected, rtol=0, atol=1e-6)
    assert (grid.camera.width, grid.camera.height) == (grid.width, grid.height)


@settings(max_examples=50)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32))
def test_a_mask_is_sampled_at_each_grid_pixel_s_own_place(
    width: int, height: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    view = View(np.zeros((height, width, 3), np.uint8), mask=mask)
    try:
        plan = plan_for_model(width, height, small_model(112))
    except InvalidInput:
        return  # too long an image
    grid = to_grid(view, plan)
    uv = grid.to_image(grid_places(plan))
    assert grid.mask is not None
    assert grid.mask.shape == (grid.height, grid.width)
    rng = np.random.default_rng(seed)
    for row, column in rng.integers(0, (grid.height, grid.width), (30, 2)):
        u, v = uv[row, column]
        near = mask[
            max(0, int(np.ceil(v - 0.5 - 1e-9))) : int(np.floor(v + 0.5 + 1e-9)) + 1,
            max(0, int(np.ceil(u - 0.5 - 1e-9))) : int(np.floor(u + 0.5 + 1e-9)) + 1,
        ]
        assert grid.mask[row, column] in near


def test_a_full_mask_stays_full_and_none_stays_none() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    plan = plan_for_model(640, 480, small_model(336))
    assert to_grid(View(image), plan).mask is None
    full = to_grid(View(image, mask=np.ones((480, 640), bool)), plan).mask
    assert full is not None
    assert full.all()


def test_a_mask_leaves_the_network_s_picture_unchanged() -> None:
    picture = smooth_picture(640, 480)
    plan = plan_for_model(640, 480, small_model(336))
    masked = to_grid(View(picture, mask=np.zeros((480, 640), bool)), plan)
    np.testing.assert_array_equal(masked.image, to_grid(View(picture), plan).image)


def test_fast_resampling_stays_near_the_official() -> None:
    picture = smooth_picture(640, 480)
    official = scale_image(picture, (336, 252), ResizeFilter.OFFICIAL).astype(int)
    fast = scale_image(picture, (336, 252), ResizeFilter.FAST)
    assert np.abs(official - fast).max() <= 3
