# SPDX-License-Identifier: Apache-2.0
"""Every image size gets the shape that the published rules give it, or a sentence why not."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.network_grid import small_model

from mast3r_ros.config import ModelConfig, ModelVariant
from mast3r_ros.core.preprocessing import (
    GridPlan,
    plan_for_model,
    plan_for_shape,
    plan_official,
    whole_patches,
)
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


def planned_or_refused(width: int, height: int, model: ModelConfig) -> GridPlan | InvalidInput:
    try:
        return plan_for_model(width, height, model)
    except InvalidInput as error:
        return error


@pytest.mark.parametrize(('size', 'rule', 'expected'), ROWS)
def test_the_official_shape_comes_out(
    size: tuple[int, int], rule: tuple[int, int], expected: tuple[int, int]
) -> None:
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
def test_each_network_s_own_rule_is_taken(
    variant: str, resolution: int | None, size: tuple[int, int], expected: tuple[int, int]
) -> None:
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
def test_at_224_the_short_side_fits_and_the_centre_square_is_cut(
    size: tuple[int, int], scaled: tuple[int, int], offset: tuple[int, int]
) -> None:
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
def test_an_exact_shape_of_broken_patches_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match=r'height x width.*multiples of the patch of 14 px'):
        plan_for_model(640, 480, small_model(336, shape=shape))
