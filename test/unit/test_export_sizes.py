# SPDX-License-Identifier: Apache-2.0
"""Sizes as an export is asked for them: of network inputs, or of camera images."""

from __future__ import annotations

import pytest

from mast3r_ros.config import ModelVariant
from mast3r_ros.errors import InvalidInput
from mast3r_ros.export.sizes import input_shape, shape_for_image, split_sizes


def test_a_size_is_width_by_height_and_a_shape_the_other_way_round() -> None:
    assert input_shape((512, 384), 16) == (384, 512)
    assert input_shape((336, 252), 14) == (252, 336)


@pytest.mark.parametrize(
    ('size', 'patch_px', 'near'),
    [
        ((640, 470), 16, '640x464'),
        ((512, 384), 14, '518x378'),
        ((337, 252), 14, '336x252'),
        ((3, 14), 14, '14x14'),
    ],
)
def test_a_size_between_patches_is_refused_with_the_nearest(
    size: tuple[int, int], patch_px: int, near: str
) -> None:
    with pytest.raises(InvalidInput, match=rf'no multiple.*nearest is {near}.*--image-size'):
        input_shape(size, patch_px)


def test_a_size_beyond_the_settings_is_refused() -> None:
    with pytest.raises(InvalidInput, match='4096x384 is too large'):
        input_shape((4096, 384), 16)


@pytest.mark.parametrize(
    ('image', 'variant', 'resolution', 'shape'),
    [
        ((640, 480), ModelVariant.MAST3R_VIT_LARGE, None, (384, 512)),
        ((1280, 720), ModelVariant.MAST3R_VIT_LARGE, None, (288, 512)),
        ((1280, 720), ModelVariant.DUNE_VIT_BASE, None, (252, 448)),
        ((752, 480), ModelVariant.DUNE_VIT_SMALL, None, (210, 336)),
        ((640, 480), ModelVariant.DUNE_VIT_SMALL, 518, (378, 518)),
        ((480, 640), ModelVariant.MAST3R_VIT_LARGE, 512, (512, 384)),
        ((640, 480), ModelVariant.DUST3R_224_LINEAR, None, (224, 224)),
    ],
)
def test_a_camera_image_becomes_the_input_of_the_published_rule(
    image: tuple[int, int],
    variant: ModelVariant,
    resolution: int | None,
    shape: tuple[int, int],
) -> None:
    assert shape_for_image(image, variant, resolution) == shape


def test_sizes_of_both_views_and_mixed_pairs_are_told_apart() -> None:
    small, large = (32, 48), (64, 96)
    assert split_sizes([(small, small), (large, large), (small, large)]) == (
        (small, large),
        ((small, large),),
    )
