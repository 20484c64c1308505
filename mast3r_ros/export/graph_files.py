# SPDX-License-Identifier: Apache-2.0
"""Graphs on disk: small files whose weights lie in the model's one weights file."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_ros.errors import ModelError
from mast3r_ros.export.weight_store import Place, WeightStore

if TYPE_CHECKING:
    import onnx_ir as ir

_LARGEST_BYTES = 64 << 20  # of a graph without its weights; positions and shapes take a few


def write_graph(
    model: ir.Model, path: Path, weights: WeightStore, parameters: Collection[str]
) -> None:
    """Write a graph whose parameters are put into the weights file beside it.

    :param parameters: names of the initializers that every size has alike; the others, such as
        shapes and baked positions, stay in the graph.
    """
    import onnx_ir as ir

    for name in parameters:
        value = model.graph.initializers.get(name)
        if value is None or value.const_value is None:
            continue
        tensor = value.const_value
        place = weights.put(name, tensor.numpy())
        value.const_value = ir.ExternalTensor(
            weights.path.name,
            place.offset,
            place.length,
            tensor.dtype,
            shape=ir.Shape(tensor.shape.numpy()),
            name=name,
            base_dir=path.parent,
        )
    content = ir.to_proto(model).SerializeToString()
    if len(content) > _LARGEST_BYTES:
        raise ModelError(
            f'the graph {path.name} has {len(content) / 1e6:.0f} MB without its weights; some of '
            'them were copied into it, which must not happen: please report it'
        )
    write_whole(path, content)


def places_in(paths: Iterable[Path]) -> dict[str, Place]:
    """Return where the tensors of some graphs lie in the weights file, by name."""
    import onnx

    places: dict[str, Place] = {}
    for path in paths:
        graph = onnx.load(path, load_external_data=False).graph
        for tensor in graph.initializer:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            if entries:
                places[tensor.name] = Place(int(entries['offset']), int(entries['length']))
    return places


def write_whole(path: Path, content: bytes) -> None:
    """Write a file and bring it onto the disk."""
    with open(path, 'wb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Bring the names in a folder onto the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
