# SPDX-License-Identifier: Apache-2.0
"""The commands that get a model, as errors name them: typed as they stand, they cure the error."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from mast3r_ros.config import MASt3RRuntimeConfig, Precision, default_cache_dir
from mast3r_ros.core.preprocessing import plan_for_model
from mast3r_ros.models.catalogue import published_model
from mast3r_ros.models.description import ModelDescription, Shape

USUAL_IMAGE = (640, 480)
"""Width and height where no image tells the shape."""


def how_to_get(config: MASt3RRuntimeConfig) -> str:
    """Return the two commands that bring the settings' model to its default place."""
    model = config.model
    width, height = plan_for_model(*USUAL_IMAGE, model).grid_size
    variant = ['--variant', model.variant.value]
    place = [] if config.cache_dir is None else ['--cache-dir', str(config.cache_dir)]
    auto = model.precision is Precision.AUTO
    precision = [] if auto else ['--precision', model.precision.value]
    size = ['--size', f'{width}x{height}']
    download = shlex.join(['mast3r-download', *variant, *place])
    export = shlex.join(['mast3r-export', *variant, *size, *precision, *place])
    return f'get it with `{download}` and then `{export}`'


def how_to_add(
    purpose: str, model: ModelDescription, folder: Path, shape_1: Shape, shape_2: Shape
) -> str:
    """Return the command that adds a size to the model in a folder.

    :param purpose: what it is for, in words.
    """
    sizes = ['--size', _size(shape_1)]
    if shape_2 != shape_1:
        sizes += ['--size-2', _size(shape_2)]
    return f'{purpose} with `{_export(model, folder, sizes)}`'


def how_to_export_anew(purpose: str, model: ModelDescription, folder: Path) -> str:
    """Return the command that writes the model in a folder anew, with the sizes of one input."""
    sizes = [word for shape in model.shapes for word in ('--size', _size(shape))]
    return f'{purpose} with `{_export(model, folder, [*sizes, "--overwrite"])}`'


def how_to_convert(purpose: str, model: ModelDescription, folder: Path, target: str) -> str:
    """Return the command that makes what a target needs of the model in a folder."""
    words = ['mast3r-export', '--variant', model.variant.value, '--target', target]
    words += ['--precision', model.precision.value, *_place(model, folder)]
    return f'{purpose} with `{shlex.join(words)}`'


def _export(model: ModelDescription, folder: Path, options: Sequence[str]) -> str:
    """Return an export into a folder, of the weights and at the precision that it holds."""
    words = ['mast3r-export', '--variant', model.variant.value, *options]
    if model.precision is not Precision.FP32:
        words += ['--precision', model.precision.value]
    return shlex.join([*words, *_files(model), *_place(model, folder)])


def _files(model: ModelDescription) -> list[str]:
    """Return the options that name weights which do not have their published names."""
    published = published_model(model.variant)
    known = {file.name for file in (*published.files, *published.hugging_face)}
    names = [source.name for source in model.sources]
    if not names or known.issuperset(names):
        return []
    encoder = ['--encoder', names[1]] if len(names) > 1 else []
    return ['--checkpoint', names[0], *encoder]


def _place(model: ModelDescription, folder: Path) -> list[str]:
    """Return the options that lead an export to a folder; none to the default place."""
    if folder.parts[-3:] != ('models', model.variant.value, model.precision.value):
        return ['--output', str(folder)]
    cache = folder.parents[2]
    return [] if cache == default_cache_dir() else ['--cache-dir', str(cache)]


def _size(shape: Shape) -> str:
    return f'{shape[1]}x{shape[0]}'
