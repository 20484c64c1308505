# SPDX-License-Identifier: Apache-2.0
"""What every exported graph must be: valid, static, and free of what some engines cannot run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_ros.errors import ModelError
from mast3r_ros.models.description import TRANSPOSED

if TYPE_CHECKING:
    import onnx

# Their outputs' shapes follow from values, or they choose between graphs at run time.
_NOT_STATIC = frozenset(
    {'If', 'Loop', 'Scan', 'Shape', 'Size', 'NonZero', 'Unique', 'Range', 'ConstantOfShape'}
)


def check_graph(path: Path) -> None:
    """Raise unless the graph of that file can be run by every engine as it is.

    :raises ModelError: it is not valid, or breaks one of the rules of :func:`faults`.
    """
    import onnx

    try:
        onnx.checker.check_model(path)
        model = onnx.load(path, load_external_data=False)
        model = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f'the graph {path.name} is not valid ONNX: {error}') from error
    wrong = faults(model)
    if wrong:
        raise ModelError(f'the graph {path.name} cannot run everywhere: {"; ".join(wrong)}')


def faults(model: onnx.ModelProto) -> list[str]:
    """Return what breaks the rules, in words: static shapes, plain operators, weights as stored.

    :param model: a graph after shape inference.
    """
    graph = model.graph
    found = [f'the operator {name}' for name in sorted(_operators(graph) & _NOT_STATIC)]
    foreign = {node.domain for node in graph.node if node.domain not in ('', 'ai.onnx')}
    found += [f'operators of the domain {name}' for name in sorted(foreign)]
    stored = {tensor.name for tensor in graph.initializer}
    found += [
        f'a {node.op_type} of the weight {node.input[0]}'
        for node in graph.node
        if node.op_type in ('Transpose', 'Reshape', 'Cast')
        and node.input[0] in stored
        and not node.input[0].endswith(TRANSPOSED)  # those are stored so for a reason
    ]
    values = [*graph.input, *graph.output, *graph.value_info]
    static = {value.name for value in values if _is_static(value)}
    made = {name for node in graph.node for name in node.output if name}
    unsettled = sorted(({value.name for value in graph.input} | made) - static)
    found += [f'no fixed shape for {name}' for name in unsettled[:3]]
    return found


def _operators(graph: onnx.GraphProto) -> set[str]:
    return {node.op_type for node in graph.node}


def _is_static(value: onnx.ValueInfoProto) -> bool:
    kind = value.type.tensor_type
    if not kind.HasField('shape'):
        return False
    return all(side.HasField('dim_value') and side.dim_value > 0 for side in kind.shape.dim)
