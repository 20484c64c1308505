# SPDX-License-Identifier: Apache-2.0
"""Which network inputs an export is asked for, from sizes of inputs or of camera images."""

from __future__ import annotations

from collections.abc import Sequence

from mast3r_ros.config import ModelConfig, ModelVariant
from mast3r_ros.core.preprocessing import plan_for_model
from mast3r_ros.errors import InvalidInput
from mast3r_ros.models.description import Shape

Pair = tuple[Shape, Shape]
"""Shapes of view 1 and view 2."""

_LARGEST_PX = 2048  # as the settings allow


def input_shape(size: tuple[int, int], patch_px: int) -> Shape:
    """Return the shape of a network input of that width and height.

    :raises InvalidInput: a side is no multiple of the patch, or too large; names what is near.
    """
    width, height = size
    if max(size) > _LARGEST_PX:
        raise InvalidInput(
            f'the size {width}x{height} is too large; both sides may have {_LARGEST_PX} px at most'
        )
    if width % patch_px or height % patch_px or min(size) < patch_px:
        near = 'x'.join(str(_nearest(side, patch_px)) for side in size)
        raise InvalidInput(
            f'the size {width}x{height} is no multiple of the patch of {patch_px} px; the nearest '
            f'is {near}; for the size of a camera image use --image-size'
        )
    return height, width


def shape_for_image(size: tuple[int, int], variant: ModelVariant, resolution: int | None) -> Shape:
    """Return the network input that an image of that width and height is brought to.

    :param resolution: long side of the input; None for the one the variant is meant for.
    """
    model = ModelConfig(variant=variant, resolution=resolution)
    width, height = plan_for_model(*size, model).grid_size
    return height, width


def split_sizes(sizes: Sequence[Pair]) -> tuple[tuple[Shape, ...], tuple[Pair, ...]]:
    """Return the sizes that both views have, and the pairs whose views differ."""
    return (
        tuple(shape_1 for shape_1, shape_2 in sizes if shape_1 == shape_2),
        tuple(pair for pair in sizes if pair[0] != pair[1]),
    )


def _nearest(side: int, patch_px: int) -> int:
    return max(1, round(side / patch_px)) * patch_px
