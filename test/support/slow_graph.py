# SPDX-License-Identifier: Apache-2.0
"""A graph that multiplies for minutes, to cancel."""

from __future__ import annotations

from pathlib import Path

SLOW_SHAPE = (2048, 2048)


def write_slow_graph(path: Path, count: int = 400) -> Path:
    """Write a graph that multiplies its input ``x0`` by itself again and again."""
    import onnx

    helper = onnx.helper
    nodes = [helper.make_node('MatMul', [f'x{i}', 'x0'], [f'x{i + 1}']) for i in range(count)]
    ports = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, SLOW_SHAPE)
        for name in ('x0', f'x{count}')
    ]
    graph = helper.make_graph(nodes, 'slow', ports[:1], ports[1:])
    opset = [helper.make_opsetid('', 18)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path
