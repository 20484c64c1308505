# SPDX-License-Identifier: Apache-2.0
"""Puts constants into a graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx_ir as ir


def add_constant(model: ir.Model, name: str, values: NDArray[Any]) -> ir.Value:
    """Return the constant of a name, which is added unless it is there: graphs share weights."""
    import onnx_ir as ir

    if name in model.graph.initializers:
        return model.graph.initializers[name]
    tensor = ir.tensor(np.array(values, order='C'), name=name)
    value = ir.Value(
        name=name,
        const_value=tensor,
        shape=ir.Shape(values.shape),
        type=ir.TensorType(tensor.dtype),
    )
    model.graph.register_initializer(value)
    return value
