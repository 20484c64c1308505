# SPDX-License-Identifier: Apache-2.0
"""Which of a model's sizes a view is brought to, the usual one and that for tracking."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mast3r_ros.config import ModelConfig, ModelVariant, Precision
from mast3r_ros.core.views import View
from mast3r_ros.engines.network_size import plan_for_tracking, plan_view, tracking_model
from mast3r_ros.errors import InvalidInput
from mast3r_ros.models.folder import ModelFolder

WIDE = View(np.zeros((360, 640, 3), np.uint8))
CROPPING = ModelConfig(
    variant=ModelVariant.MAST3R_VIT_LARGE, resolution=512, tracking_resolution=256, fit='crop'
)


def folder(*sizes: tuple[int, int]) -> ModelFolder:
    """Return a folder with networks for images of these widths and heights."""
    description = SimpleNamespace(
        shapes=tuple((height, width) for width, height in sizes),
        pairs=(),
        variant=CROPPING.variant,
        precision=Precision.FP32,
        sources=(),
    )
    return ModelFolder(Path('/models/one'), description)


def test_cropped_images_are_followed_on_fewer_pixels_than_keyframes_have():
    model = folder((512, 384), (512, 288), (256, 192))
    settings = tracking_model(model, CROPPING)
    assert plan_view(WIDE, model, CROPPING).grid_size == (512, 288)
    assert plan_for_tracking(WIDE, model, settings).grid_size == (256, 192)


def test_the_size_of_the_images_own_shape_is_taken_where_it_is_there():
    model = folder((512, 384), (512, 288), (256, 192), (256, 144))
    assert plan_for_tracking(WIDE, model, CROPPING).grid_size == (256, 144)


def test_no_smaller_size_is_refused_with_the_command_that_adds_one():
    model = folder((512, 384), (512, 288))
    with pytest.raises(InvalidInput, match=r'256x144 to follow with.*--size 256x144') as caught:
        plan_for_tracking(WIDE, model, CROPPING)
    assert 'fit to crop' not in str(caught.value)
