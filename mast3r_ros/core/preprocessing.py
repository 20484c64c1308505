# SPDX-License-Identifier: Apache-2.0
"""From a view to the network's pixels: the official resize and crop rules.

An image spans [-0.5, W - 0.5] before and after, so scaling maps u to (u + 0.5) * scale - 0.5.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from PIL import Image

from mast3r_ros.config import ModelConfig, ResizeFilter
from mast3r_ros.core.views import Grid, ImageArray, MaskArray, View
from mast3r_ros.errors import InvalidInput

_log = logging.getLogger(__name__)
_SQUARE_RESOLUTION = 224  # the one size whose networks were trained on square crops


@dataclass(frozen=True)
class GridPlan:
    """How an image of one size comes onto the network's pixels: scale it, then cut the centre."""

    image_size: tuple[int, int]  # width, height as it came
    scaled_size: tuple[int, int]  # width, height after scaling
    crop_offset: tuple[int, int]  # x, y cut away at the left and top
    grid_size: tuple[int, int]  # width, height of the network input

    @property
    def scale(self) -> tuple[float, float]:
        """Scaled pixels per image pixel along x and y."""
        return (
            self.scaled_size[0] / self.image_size[0],
            self.scaled_size[1] / self.image_size[1],
        )


def plan_for_model(width: int, height: int, model: ModelConfig) -> GridPlan:
    """Plan an image of that size for the settings of a model."""
    patch_px = model.variant.patch_px
    if model.shape is not None:
        return plan_for_shape(width, height, model.shape, patch_px)
    wanted = model.resolution or model.variant.default_resolution
    resolution = whole_patches(wanted, patch_px)
    return plan_official(width, height, resolution, patch_px, model.variant.square_stays_square)


@lru_cache(maxsize=64)
def whole_patches(resolution: int, patch_px: int) -> int:
    """Return the resolution rounded down to whole patches, and say so once where it differs."""
    rounded = resolution // patch_px * patch_px
    if rounded != resolution:
        _log.warning(
            'resolution %d is no multiple of the patch of %d px; %d is used',
            resolution,
            patch_px,
            rounded,
        )
    return rounded


def plan_official(
    width: int, height: int, resolution: int, patch_px: int, square_stays_square: bool
) -> GridPlan:
    """Plan by the published rule: scale the long side to ``resolution``, cut to whole patches."""
    if resolution == _SQUARE_RESOLUTION:
        return _plan_square(width, height)
    scaled_w, scaled_h = _scaled_to_long_side(width, height, resolution)
    center_x, center_y = scaled_w // 2, scaled_h // 2
    half_w = 2 * center_x // patch_px * patch_px // 2
    half_h = 2 * center_y // patch_px * patch_px // 2
    if scaled_w == scaled_h and not square_stays_square:
        half_h = 3 * half_w // 2 // patch_px * patch_px // 2
    if half_w == 0 or half_h == 0:
        raise InvalidInput(
            f'an image of {width}x{height} becomes {scaled_w}x{scaled_h} at resolution '
            f'{resolution}, less than one patch of {patch_px} px; crop it to less than '
            f'{resolution // patch_px}:1 or raise the resolution'
        )
    return GridPlan(
        (width, height),
        (scaled_w, scaled_h),
        (center_x - half_w, center_y - half_h),
        (2 * half_w, 2 * half_h),
    )


def plan_for_shape(width: int, height: int, shape: tuple[int, int], patch_px: int) -> GridPlan:
    """Plan for an exact (height, width): scale until both sides are covered, cut the centre."""
    grid_h, grid_w = shape
    if grid_h < patch_px or grid_w < patch_px or grid_h % patch_px or grid_w % patch_px:
        raise InvalidInput(
            f'shape is {grid_h}x{grid_w} (height x width); both must be multiples of the patch '
            f'of {patch_px} px'
        )
    ratio = max(grid_w / width, grid_h / height)
    scaled_w = max(grid_w, round(width * ratio))
    scaled_h = max(grid_h, round(height * ratio))
    offset = ((scaled_w - grid_w) // 2, (scaled_h - grid_h) // 2)
    return GridPlan((width, height), (scaled_w, scaled_h), offset, (grid_w, grid_h))


def to_grid(view: View, plan: GridPlan, resize: ResizeFilter = ResizeFilter.OFFICIAL) -> Grid:
    """Bring a view, its mask and its camera onto the planned pixels."""
    if plan.image_size != (view.width, view.height):
        raise InvalidInput(
            f'the plan is for images of {plan.image_size[0]}x{plan.image_size[1]} but this one is '
            f'{view.width}x{view.height}; plan anew'
        )
    (x, y), (width, height) = plan.crop_offset, plan.grid_size
    scaled = scale_image(view.image, plan.scaled_size, resize)
    image = np.ascontiguousarray(scaled[y : y + height, x : x + width])
    camera = None
    if view.camera is not None:
        camera = view.camera.on_grid(plan.scale, plan.crop_offset, width, height)
    grid = Grid(image, None, camera, plan.scale, (float(x), float(y)))
    if view.mask is None:
        return grid
    return Grid(image, _mask_on_grid(view.mask, grid), camera, grid.scale, grid.offset)


def scale_image(image: ImageArray, size: tuple[int, int], resize: ResizeFilter) -> ImageArray:
    """Scale an RGB image to ``size`` (width, height)."""
    height, width = image.shape[:2]
    if size == (width, height):
        return image
    if resize is ResizeFilter.OFFICIAL:
        kernel = official_kernel((width, height), size)
        return np.asarray(Image.fromarray(image).resize(size, kernel))
    shrinks = max(width, height) > max(size)
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)
    return np.asarray(scaled, np.uint8)


def official_kernel(size: tuple[int, int], scaled_size: tuple[int, int]) -> Image.Resampling:
    """Return what the published rule resamples with from one (width, height) to another."""
    shrinks = max(size) > max(scaled_size)
    return Image.Resampling.LANCZOS if shrinks else Image.Resampling.BICUBIC


def _scaled_to_long_side(width: int, height: int, long_side: int) -> tuple[int, int]:
    longest = max(width, height)
    return round(width * long_side / longest), round(height * long_side / longest)


def _plan_square(width: int, height: int) -> GridPlan:
    long_side = round(_SQUARE_RESOLUTION * max(width / height, height / width))
    scaled_w, scaled_h = _scaled_to_long_side(width, height, long_side)
    center_x, center_y = scaled_w // 2, scaled_h // 2
    half = min(center_x, center_y)
    offset = (center_x - half, center_y - half)
    return GridPlan((width, height), (scaled_w, scaled_h), offset, (2 * half, 2 * half))


def _mask_on_grid(mask: MaskArray, grid: Grid) -> MaskArray:
    """Sample the mask at each grid pixel's place in the image; nearest, so no edge grows."""
    columns = grid.to_image(np.stack([np.arange(grid.width), np.zeros(grid.width)], -1))[:, 0]
    rows = grid.to_image(np.stack([np.zeros(grid.height), np.arange(grid.height)], -1))[:, 1]
    row_index = np.clip(np.rint(rows).astype(int), 0, mask.shape[0] - 1)
    column_index = np.clip(np.rint(columns).astype(int), 0, mask.shape[1] - 1)
    return np.ascontiguousarray(mask[np.ix_(row_index, column_index)])
