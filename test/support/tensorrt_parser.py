# SPDX-License-Identifier: Apache-2.0
"""What TensorRT's ONNX parser takes, by its published matrix of operators and types."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import onnx
from cuda_python_double import FACTS

KINDS = {1: 'FP32', 2: 'UINT8', 3: 'INT8', 6: 'INT32', 7: 'INT64', 9: 'BOOL', 10: 'FP16'}
OLDEST_OPSETS = range(9, 21)  # of TensorRT 10.3


def refused_by_tensorrt(model: onnx.ModelProto) -> Iterator[str]:
    """Yield what TensorRT's parser would not take, in words."""
    operators = json.loads((FACTS / 'onnx_operators.json').read_text(encoding='utf-8'))
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    values = {item.name: item for item in graph.initializer}
    kinds = {name: item.data_type for name, item in values.items()}
    for item in (*graph.input, *graph.value_info, *graph.output):
        kinds[item.name] = item.type.tensor_type.elem_type
    ends = {item.name for item in (*graph.input, *graph.output)}
    for opset in model.opset_import:
        if opset.domain or opset.version not in OLDEST_OPSETS:
            yield f'operators of {opset.domain or "ONNX"} {opset.version}'
    for node in graph.node:
        if node.op_type not in operators:
            yield f'{node.op_type} is no operator of it'
        elif KINDS.get(kinds[node.input[0]]) not in operators[node.op_type]:
            yield f'{node.op_type} of {KINDS.get(kinds[node.input[0]])}'
        for name in (*node.input, *node.output):
            if kinds.get(name) == onnx.TensorProto.UINT8 and (
                name not in ends or node.op_type != 'Cast'
            ):
                yield f'{name} is bytes inside, at {node.op_type}'
        if node.op_type in ('QuantizeLinear', 'DequantizeLinear'):
            yield from _scales_refused(node, kinds, values)


def _scales_refused(
    node: onnx.NodeProto, kinds: dict[str, int], values: dict[str, onnx.TensorProto]
) -> Iterator[str]:
    if len(node.input) < 3:
        if node.op_type == 'QuantizeLinear':
            yield f'{node.name} makes UINT8, as it names no zero point'
        return
    zero = values.get(node.input[2])
    if zero is None or zero.data_type != onnx.TensorProto.INT8:
        yield f'{node.name} has a zero point of {KINDS.get(kinds[node.input[2]])}'
    elif np.any(onnx.numpy_helper.to_array(zero)):
        yield f'{node.name} has another zero point than 0'
