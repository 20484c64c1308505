# SPDX-License-Identifier: Apache-2.0
"""Which of a model's sizes a view is brought to."""

from __future__ import annotations

from mast3r_ros.config import FitRule, ModelConfig
from mast3r_ros.core.preprocessing import GridPlan, plan_for_model, plan_for_shape
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput, ModelNotFound
from mast3r_ros.models.description import Shape
from mast3r_ros.models.folder import ModelFolder
from mast3r_ros.models.getting import how_to_add


def plan_view(view: View, folder: ModelFolder, model: ModelConfig) -> GridPlan:
    """Plan a view by the published rule; the size must be one of the model's.

    With ``fit: crop`` an image of another shape is cut to the size that keeps most of it.

    :raises InvalidInput: the model lacks the size; the sentence says how to get it.
    """
    plan = plan_for_model(view.width, view.height, model)
    wanted = (plan.grid_size[1], plan.grid_size[0])
    if wanted in folder.encoder_shapes:
        return plan
    if model.fit is FitRule.CROP:
        nearest = _keeping_most(view, folder, wanted)
        return plan_for_shape(view.width, view.height, nearest, model.variant.patch_px)
    raise InvalidInput(
        f'an image of {view.width}x{view.height} needs a network input of '
        f'{wanted[1]}x{wanted[0]}, and the model at {folder.path} has {folder.sizes_in_words()}; '
        + how_to_add('export that size', folder.description, folder.path, wanted, wanted)
        + ', choose another model.resolution, or set model.fit to crop'
    )


def check_settings_shape(folder: ModelFolder, model: ModelConfig) -> None:
    """Raise where the settings name a shape that the model lacks."""
    shape = model.shape
    if shape is None or shape in folder.encoder_shapes or model.fit is FitRule.CROP:
        return
    raise ModelNotFound(
        f'model.shape is {shape[0]}x{shape[1]} (height x width), and the model at {folder.path} '
        f'has {folder.sizes_in_words()} (width x height); '
        + how_to_add('export that size', folder.description, folder.path, shape, shape)
    )


def first_shape(folder: ModelFolder, model: ModelConfig) -> Shape | None:
    """Return the one shape that can come, where there is only one."""
    shapes = folder.description.shapes
    if model.shape in shapes:
        return model.shape
    return shapes[0] if len(shapes) == 1 and folder.encoder_shapes == shapes else None


def _keeping_most(view: View, folder: ModelFolder, wanted: Shape) -> Shape:
    """Return the size that cuts least away; among equals, the one nearest in area."""
    pixels = wanted[0] * wanted[1]

    def rank(shape: Shape) -> tuple[float, float]:
        stretch = (shape[1] / shape[0]) / (view.width / view.height)
        kept = round(min(stretch, 1.0 / stretch), 2)  # of the image; hundredths do not matter
        return -kept, abs(shape[0] * shape[1] - pixels)

    return min(folder.encoder_shapes, key=rank)
