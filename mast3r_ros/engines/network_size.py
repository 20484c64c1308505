# SPDX-License-Identifier: Apache-2.0
"""Which of a model's sizes a view is brought to."""

from __future__ import annotations

from collections.abc import Sequence

from mast3r_ros.config import FitRule, ModelConfig
from mast3r_ros.core.preprocessing import GridPlan, plan_for_model, plan_for_shape
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput, ModelNotFound
from mast3r_ros.models.description import Shape
from mast3r_ros.models.folder import ModelFolder
from mast3r_ros.models.getting import USUAL_IMAGE, how_to_add


def plan_view(
    view: View, folder: ModelFolder, model: ModelConfig, setting: str = 'model.resolution'
) -> GridPlan:
    """Plan a view by the published rule; the size must be one of the model's.

    With ``fit: crop`` an image of another shape is cut to the size that keeps most of it.

    :param setting: what the size comes from.
    :raises InvalidInput: the model lacks the size; the sentence says how to get it.
    """
    return _plan(view, folder, folder.encoder_shapes, model, setting)


def _plan(
    view: View,
    folder: ModelFolder,
    shapes: Sequence[Shape],
    model: ModelConfig,
    setting: str,
    for_what: str = '',
) -> GridPlan:
    """Plan a view onto one of some of the model's sizes."""
    plan = plan_for_model(view.width, view.height, model)
    wanted = (plan.grid_size[1], plan.grid_size[0])
    if wanted in shapes:
        return plan
    is_cut = model.fit is FitRule.CROP
    if is_cut and shapes:
        nearest = _keeping_most(view, shapes, wanted)
        return plan_for_shape(view.width, view.height, nearest, model.variant.patch_px)
    raise InvalidInput(
        f'an image of {view.width}x{view.height} needs a network input of '
        f'{wanted[1]}x{wanted[0]}{for_what}, and the model at {folder.path} has '
        f'{folder.sizes_in_words()}; '
        + how_to_add('export that size', folder.description, folder.path, wanted, wanted)
        + (' or' if is_cut else ',')
        + f' choose another {setting}'
        + ('' if is_cut else ', or set model.fit to crop')
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


def tracking_model(folder: ModelFolder, model: ModelConfig) -> ModelConfig | None:
    """Return the settings where they name a smaller size for tracking, None where they do not.

    :raises ModelNotFound: the model lacks that size; the sentence says how to get it.
    :raises InvalidInput: it is not smaller.
    """
    if model.tracking_resolution is None and model.tracking_shape is None:
        return None
    small = _smaller(model)
    usual, wanted = (_usual_shape(folder, model, each) for each in (model, small))
    name = _tracking_setting(model)
    if wanted[0] * wanted[1] >= usual[0] * usual[1]:
        raise InvalidInput(
            f'{name} gives {wanted[1]}x{wanted[0]} (width x height), which is not smaller than '
            f"the keyframes' {usual[1]}x{usual[0]}; lower it, or leave it out"
        )
    shapes = folder.description.shapes
    if model.tracking_shape is None and any(max(shape) == max(wanted) for shape in shapes):
        return model  # whether it is of the images' own shape, they will tell
    if wanted in shapes or (model.fit is FitRule.CROP and len(shapes) > 1):
        return model
    raise ModelNotFound(
        f'{name} asks for a network input of {wanted[1]}x{wanted[0]} to follow with, and the '
        f'model at {folder.path} has {folder.sizes_in_words()} (width x height); '
        + how_to_add('export that size too', folder.description, folder.path, wanted, wanted)
    )


def plan_for_tracking(view: View, folder: ModelFolder, model: ModelConfig) -> GridPlan:
    """Plan a view onto a smaller size than its usual one.

    :param model: the settings that :func:`tracking_model` returned.
    :raises InvalidInput: the model lacks such a size; the sentence says how to get it.
    """
    small = _smaller(model)
    if model.fit is FitRule.CROP:
        usual = plan_view(view, folder, model).grid_size
    else:  # what is missing, the view itself will tell
        usual = plan_for_model(view.width, view.height, model).grid_size
    wanted = plan_for_model(view.width, view.height, small).grid_size
    fewer = [
        (height, width)
        for height, width in folder.encoder_shapes
        if height * width < usual[0] * usual[1] or (width, height) == usual == wanted
    ]
    return _plan(view, folder, fewer, small, _tracking_setting(model), ' to follow with')


def certain_shapes(
    folder: ModelFolder, model: ModelConfig, for_tracking: ModelConfig | None
) -> list[Shape]:
    """Return the shapes that are sure to come, the usual one and that for tracking.

    :param for_tracking: what :func:`tracking_model` returned.
    """
    if for_tracking is None:
        shape = first_shape(folder, model)
        return [] if shape is None else [shape]
    found = []
    for settings in (model, _smaller(for_tracking)):
        long_side = max(_usual_shape(folder, model, settings))
        alike = [item for item in folder.description.shapes if max(item) == long_side]
        found += [settings.shape] if settings.shape is not None else alike[: len(alike) == 1]
    return [shape for shape in found if shape in folder.description.shapes]


def check_pair(folder: ModelFolder, shape_1: Shape, shape_2: Shape) -> None:
    """Raise, with the command that adds it, where a model lacks a pair of sizes."""
    model = folder.description
    if not model.serves(shape_1, shape_2):
        cure = how_to_add('export this one', model, folder.path, shape_1, shape_2)
        raise InvalidInput(
            f'view 1 is {shape_1[1]}x{shape_1[0]} and view 2 {shape_2[1]}x{shape_2[0]}; the '
            f'model at {folder.path} lacks that pair, it has {folder.sizes_in_words()}; {cure}'
        )


def first_shape(folder: ModelFolder, model: ModelConfig) -> Shape | None:
    """Return the one shape that can come, where there is only one."""
    if model.tracking_resolution is not None or model.tracking_shape is not None:
        return None
    shapes = folder.description.shapes
    if model.shape in shapes:
        return model.shape
    return shapes[0] if len(shapes) == 1 and folder.encoder_shapes == shapes else None


def _usual_shape(folder: ModelFolder, model: ModelConfig, settings: ModelConfig) -> Shape:
    """Return what settings make of an image of the kind that the model is used for."""
    image_size = USUAL_IMAGE
    if plan_for_model(*image_size, model).grid_size[::-1] not in folder.encoder_shapes:
        height, width = folder.encoder_shapes[0]
        image_size = width, height
    width, height = plan_for_model(*image_size, settings).grid_size
    return height, width


def _smaller(model: ModelConfig) -> ModelConfig:
    """Return the settings with the size for tracking as the usual one."""
    return model.replace(resolution=model.tracking_resolution, shape=model.tracking_shape)


def _tracking_setting(model: ModelConfig) -> str:
    return f'model.tracking_{"resolution" if model.tracking_shape is None else "shape"}'


def _keeping_most(view: View, shapes: Sequence[Shape], wanted: Shape) -> Shape:
    """Return the size that cuts least away; among equals, the one nearest in area."""
    pixels = wanted[0] * wanted[1]

    def rank(shape: Shape) -> tuple[float, float]:
        stretch = (shape[1] / shape[0]) / (view.width / view.height)
        kept = round(min(stretch, 1.0 / stretch), 2)  # of the image; hundredths do not matter
        return -kept, abs(shape[0] * shape[1] - pixels)

    return min(shapes, key=rank)
