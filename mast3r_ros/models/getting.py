# SPDX-License-Identifier: Apache-2.0
"""The commands that get a model, as errors name them."""

from __future__ import annotations

from mast3r_ros.config import ModelConfig, ModelVariant, Precision
from mast3r_ros.core.preprocessing import plan_for_model
from mast3r_ros.models.description import Shape

_USUAL_IMAGE = (640, 480)  # where no image tells the shape


def how_to_get(model: ModelConfig) -> str:
    """Return the two commands that bring a model onto this machine."""
    variant = model.variant.value
    return f'get it with `mast3r-download --variant {variant}` and then `{_export_like(model)}`'


def how_to_export(
    variant: ModelVariant, purpose: str, shape_1: Shape | None = None, shape_2: Shape | None = None
) -> str:
    """Return the command that writes a model, or one more size of it.

    :param purpose: what it is for, in words.
    """
    if shape_1 is None:
        return f'{purpose} with `{_export_like(ModelConfig(variant=variant))}`'
    command = f'mast3r-export --variant {variant.value} --size {_size(shape_1)}'
    if shape_2 is not None and shape_2 != shape_1:
        command += f' --size-2 {_size(shape_2)}'
    return f'{purpose} with `{command}`'


def _export_like(model: ModelConfig) -> str:
    """Return the export of what the settings ask for; their shape, or that of 4:3 images."""
    width, height = plan_for_model(*_USUAL_IMAGE, model).grid_size
    command = f'mast3r-export --variant {model.variant.value} --size {width}x{height}'
    if model.precision is not Precision.AUTO:
        command += f' --precision {model.precision.value}'
    return command


def _size(shape: Shape) -> str:
    return f'{shape[1]}x{shape[0]}'
