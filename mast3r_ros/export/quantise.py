# SPDX-License-Identifier: Apache-2.0
"""Eight-bit graphs: products with weights in whole numbers, everything else in float32.

Dynamic: the range of what is multiplied is found anew for every picture, so no pictures are needed
to make one. On x86 processors without VNNI sums of products can saturate; a comparison made on
such a machine shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.export.graph_constants import add_constant

if TYPE_CHECKING:
    import onnx_ir as ir

_LARGEST = 127.0  # symmetric: no zero point is needed
_COLUMNS = 256  # of a weight that are quantised at once, so that nothing is in memory twice


def quantise_dynamically(model: ir.Model, keep: frozenset[str]) -> list[str]:
    """Turn the products with constant weights into eight-bit ones, channel by channel.

    :param keep: names of weights that stay as they are.
    :return: names of the new initializers that every size has alike.
    """
    made: list[str] = []
    quantised_inputs: dict[ir.Value, list[ir.Value]] = {}
    for node in list(model.graph):
        weight = node.inputs[1] if node.op_type == 'MatMul' else None
        if weight is None or weight.const_value is None or weight.name in keep:
            continue
        values = weight.const_value.numpy()
        if values.ndim != 2 or values.dtype != np.float32:
            continue
        factor = node.inputs[0]
        assert factor is not None
        if factor not in quantised_inputs:
            quantised_inputs[factor] = _quantise_input(model, node, factor)
        made += _replace(model, node, weight, values, quantised_inputs[factor])
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        del model.graph.initializers[name]
    return made


def quantise(weight: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return a weight (in, out) as whole numbers and the scale of each of its columns."""
    scale = np.abs(weight).max(axis=0) / np.float32(_LARGEST)
    scale[scale == 0.0] = 1.0
    whole = np.empty(weight.shape, np.int8)
    for start in range(0, weight.shape[1], _COLUMNS):
        columns = slice(start, start + _COLUMNS)
        whole[:, columns] = np.rint(weight[:, columns] / scale[columns])
    return whole, scale


def _quantise_input(model: ir.Model, node: ir.Node, factor: ir.Value) -> list[ir.Value]:
    """Insert what brings a product's first factor into eight bits: values, scale, zero point."""
    import onnx_ir as ir

    maker = ir.node('DynamicQuantizeLinear', [factor], num_outputs=3)
    for value, ending, kind, shape in zip(
        maker.outputs,
        ('quantised', 'scale', 'zero_point'),
        (ir.DataType.UINT8, ir.DataType.FLOAT, ir.DataType.UINT8),
        (factor.shape, ir.Shape([]), ir.Shape([])),
        strict=True,
    ):
        value.name, value.type, value.shape = f'{factor.name}_{ending}', ir.TensorType(kind), shape
    model.graph.insert_before(node, maker)
    return list(maker.outputs)


def _replace(
    model: ir.Model,
    node: ir.Node,
    weight: ir.Value,
    values: NDArray[np.float32],
    quantised: list[ir.Value],
) -> tuple[str, str]:
    """Put the eight-bit product in the place of a float one."""
    import onnx_ir as ir

    whole, scale = quantise(values)
    names = f'{weight.name}.int8', f'{weight.name}.scale'
    stored = [add_constant(model, names[0], whole), add_constant(model, names[1], scale)]
    result = node.outputs[0]
    steps = [ir.node('MatMulInteger', [quantised[0], stored[0], quantised[2]])]
    steps.append(ir.node('Cast', [steps[0].outputs[0]], {'to': ir.DataType.FLOAT}))
    steps.append(ir.node('Mul', [quantised[1], stored[1]]))
    steps.append(ir.node('Mul', [steps[1].outputs[0], steps[2].outputs[0]]))
    for step, ending in zip(steps, ('sum', 'float', 'unit', 'scaled'), strict=True):
        step.outputs[0].name = f'{result.name}_{ending}'
    model.graph.insert_before(node, steps)
    final = steps[-1].outputs[0]
    final.type, final.shape = result.type, result.shape
    result.replace_all_uses_with(final, replace_graph_outputs=True)
    name = result.name
    model.graph.remove(node, safe=True)
    final.name = name
    return names
