# SPDX-License-Identifier: Apache-2.0
"""The stages of a model folder joined to one graph, as others export such networks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mast3r_ros.models.description import STAGES, Shape
from mast3r_ros.models.folder import ModelFolder

VIEWS = ('image_1', 'image_2')


def write_whole_graph(folder: ModelFolder, shape: Shape) -> Path:
    """Write the graph beside the weights, which it shares with the stages, and return its path.

    It takes both images and ends at the raw heads. The encoder stands in it twice.
    """
    import onnx

    parts = [('encoder_1', 'encoder'), ('encoder_2', 'encoder')]
    parts += [(name, name) for name in STAGES[1:] if name in folder.description.stages]
    whole = onnx.GraphProto(name='pair')
    model = None
    for part, stage in parts:
        model = onnx.load(folder.stage_path(stage, shape, shape), load_external_data=False)
        _join(whole, part, model.graph)
    assert model is not None
    joined = onnx.helper.make_model(whole, opset_imports=model.opset_import)
    joined.ir_version = model.ir_version
    path = folder.path / f'{shape[0]}x{shape[1]}_whole_pair.onnx'
    path.write_bytes(joined.SerializeToString())
    return path


def _join(whole: Any, part: str, graph: Any) -> None:
    """Add a stage, its own names behind its own name; what passes between stages keeps its."""
    shared = {'image': f'image_{part[-1]}', 'tokens': f'tokens_{part[-1]}', '': ''}
    shared.update({port.name: port.name for port in _ports(graph) if port.name not in shared})

    def renamed(name: str) -> str:
        return shared.get(name, f'{part}/{name}')

    for item in graph.initializer:
        item.name = renamed(item.name)
        whole.initializer.append(item)
    for node in graph.node:
        node.name = f'{part}/{node.name}'
        for names in (node.input, node.output):
            names[:] = [renamed(name) for name in names]
        whole.node.append(node)
    for port in _ports(graph):
        port.name = renamed(port.name)
    whole.input.extend(port for port in graph.input if port.name in VIEWS)
    whole.output.extend(port for port in graph.output if port.name.startswith(_ENDS))


_ENDS = ('points_', 'descriptors_')


def _ports(graph: Any) -> list[Any]:
    return [*graph.input, *graph.output]
