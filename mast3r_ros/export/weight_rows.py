# SPDX-License-Identifier: Apache-2.0
"""Weights of products stored as (out, in), with a Transpose before the product.

OpenVINO multiplies with weights in that order: it takes them from the file as they are, and would
hold others a second time, turned round, in memory of its own. ONNX Runtime and TensorRT turn them
back once, when they load a graph.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from mast3r_ros.models.description import TRANSPOSED

if TYPE_CHECKING:
    import onnx_ir as ir


def store_rows(model: ir.Model, parameters: Collection[str]) -> list[str]:
    """Turn round the float weights that only products use; return what all are called then.

    :param parameters: names of the initializers that go into the weights file.
    """
    names = []
    for name in parameters:
        value = model.graph.initializers.get(name)
        if value is None or not _is_weight_of_products(value):
            names.append(name)
            continue
        names.append(_turn_round(model, value))
    return names


def _is_weight_of_products(value: ir.Value) -> bool:
    tensor = value.const_value
    if tensor is None or len(tensor.shape) != 2 or not tensor.dtype.is_floating_point():
        return False
    return all(use.node.op_type == 'MatMul' and use.idx == 1 for use in value.uses())


def _turn_round(model: ir.Model, value: ir.Value) -> str:
    """Put a transposed weight and a Transpose in the place of a weight; return its name."""
    import onnx_ir as ir

    tensor = value.const_value
    assert tensor is not None
    assert value.name is not None
    rows, columns = tensor.shape.numpy()
    name = value.name + TRANSPOSED
    shape = ir.Shape([columns, rows])

    def turned() -> ir.Tensor[Any]:
        return ir.Tensor(np.ascontiguousarray(tensor.numpy().T), tensor.dtype, name=name)

    # Not before it is written: the weights of a stage need not be in memory twice.
    lazy = ir.LazyTensor(turned, dtype=tensor.dtype, shape=shape, name=name)
    stored = ir.Value(name=name, shape=shape, type=ir.TensorType(tensor.dtype), const_value=lazy)
    back = ir.node('Transpose', [stored], {'perm': [1, 0]}, name=f'{value.name}/transpose')
    back.outputs[0].name = f'{value.name}/columns'
    back.outputs[0].type = ir.TensorType(tensor.dtype)
    back.outputs[0].shape = ir.Shape([rows, columns])
    value.replace_all_uses_with(back.outputs[0])
    del model.graph.initializers[value.name]
    model.graph.register_initializer(stored)
    model.graph.insert_before(model.graph[0], back)
    return name
