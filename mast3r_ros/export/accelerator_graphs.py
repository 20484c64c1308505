# SPDX-License-Identifier: Apache-2.0
"""Preprocessing and matching beside a model, as graphs for whoever keeps all on an accelerator."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mast3r_ros.config import MatchingConfig, ModelVariant
from mast3r_ros.core.preprocessing import GridPlan, plan_official
from mast3r_ros.errors import InvalidInput
from mast3r_ros.export.graph_files import write_whole
from mast3r_ros.export.landing import finish_files, land, new_folder, unfinished_name
from mast3r_ros.export.matching_graph import MatchingPlan, matching_graph
from mast3r_ros.export.preprocess_graph import preprocess_graph
from mast3r_ros.models.description import Shape
from mast3r_ros.models.folder import ModelFolder

if TYPE_CHECKING:
    import onnx

    from mast3r_ros.export.exporter import ExportRequest

FOLDER = 'accelerator'
_INT32 = 6  # by ONNX's numbers
_NO_DESCRIPTORS = '{} has no descriptors, so there is nothing to match; leave out --with-matching'
_NO_SIZE = (
    'a picture of {}x{} becomes none of the sizes of {}, which has {}; export its size as well'
)


def wanted_graphs(
    model: ModelFolder, frames: Sequence[tuple[int, int]], with_matching: bool
) -> list[onnx.ModelProto]:
    """Return the graphs for a model's sizes.

    :param frames: width and height of the camera's pictures that are prepared.
    :param with_matching: for every pair of the model's sizes, at the usual stride.
    :raises InvalidInput: a picture becomes none of the model's sizes, or it has no descriptors.
    """
    plans = [_plan(model, width, height) for width, height in frames]
    matching = list(_matching(model)) if with_matching else []
    return [*map(preprocess_graph, plans), *map(matching_graph, matching)]


def check_wanted(
    request: ExportRequest, frames: Sequence[tuple[int, int]], with_matching: bool
) -> None:
    """Raise, before minutes of export, where the graphs cannot be made afterwards.

    :raises InvalidInput: as :func:`wanted_graphs` does.
    """
    if with_matching and not request.source.architecture.desc_dim:
        raise InvalidInput(_NO_DESCRIPTORS.format(request.source.variant.value))
    if request.folder.exists() and not request.overwrite:
        return  # it may have the sizes that fit
    shapes = list(dict.fromkeys(shape for pair in request.pairs for shape in pair))
    for width, height in frames:
        if _fitting(request.source.variant, shapes, width, height) is None:
            sizes = ', '.join(f'{wide}x{high}' for high, wide in shapes)
            name = request.source.variant.value
            raise InvalidInput(_NO_SIZE.format(width, height, name, sizes))


def write_graphs(model: ModelFolder, graphs: Sequence[onnx.ModelProto]) -> list[Path]:
    """Write graphs into a folder of the model's, each whole or not at all."""
    folder = model.path / FOLDER
    folder.mkdir(exist_ok=True)
    paths = [folder / f'{each.graph.name}.onnx' for each in graphs]
    for path, each in zip(paths, graphs, strict=True):
        write_whole(unfinished_name(path), each.SerializeToString())
    finish_files(paths)
    return paths


def write_packages(model: ModelFolder, graphs: Sequence[onnx.ModelProto]) -> list[Path]:
    """Write the same as packages for Core ML; the picture goes in as an image."""
    from mast3r_ros.export.coreml_stage import write_package
    from mast3r_ros.export.plain_module import PlainModule
    from mast3r_ros.export.stage_ports import Ports

    folder = model.path / FOLDER
    folder.mkdir(exist_ok=True)
    made = []
    for each in graphs:
        target = folder / f'{each.graph.name}.mlpackage'
        shapes = {item.name: _shape(item) for item in each.graph.input}
        ports = Ports(shapes, tuple(item.name for item in each.graph.output))
        is_whole = each.graph.output[0].type.tensor_type.elem_type == _INT32
        with new_folder(target) as unfinished:
            package = unfinished / target.name
            write_package(PlainModule(each), ports, package, np.int32 if is_whole else np.float32)
            land(package, target)
        made.append(target)
    return made


def _plan(model: ModelFolder, width: int, height: int) -> GridPlan:
    """Plan a picture by the published rule onto the size of the model that it becomes."""
    plan = _fitting(model.description.variant, model.encoder_shapes, width, height)
    if plan is None:
        name = f'the model at {model.path}'
        raise InvalidInput(_NO_SIZE.format(width, height, name, model.sizes_in_words()))
    return plan


def _fitting(
    variant: ModelVariant, shapes: Iterable[Shape], width: int, height: int
) -> GridPlan | None:
    for shape in shapes:
        plan = plan_official(
            width, height, max(shape), variant.patch_px, variant.square_stays_square
        )
        if plan.grid_size == shape[::-1]:
            return plan
    return None


def _matching(model: ModelFolder) -> Iterator[MatchingPlan]:
    description = model.description
    if not description.has_descriptors:
        raise InvalidInput(_NO_DESCRIPTORS.format(f'the model at {model.path}'))
    dim = int(description.architecture['desc_dim'])
    step = MatchingConfig().subsample
    for one, two in [*((shape, shape) for shape in description.shapes), *description.pairs]:
        yield MatchingPlan(one, two, dim=dim, subsample=step, raw=True)


def _shape(item: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(side.dim_value for side in item.type.tensor_type.shape.dim)
