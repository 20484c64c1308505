# SPDX-License-Identifier: Apache-2.0
"""Takes what eight bits do to a layer's mean answer out of its bias.

Where the tokens of a picture are much alike, the rounding of weights moves all of them the same
way: most of the error is then a constant, which a bias can carry.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.export.weights_aside import LightGraph

Array = NDArray[Any]
_MEAN = 'mean_of/'
_ERRORS_ONLY = 3  # of ONNX Runtime's log


@dataclass(frozen=True)
class _Layer:
    """A product with constant weights, as it is and as it is in eight bits."""

    exact: Any
    quantised: Any
    weight: Array
    rounded: Array


def correct_biases(
    exact: LightGraph, quantised: Any, samples: Sequence[Mapping[str, Array]]
) -> int:
    """Change the biases of a quantised ONNX model in place; return how many.

    :param exact: the same model in float32, with the same names of nodes.
    :param samples: what both get for some pictures.
    """
    layers = list(_layers(exact, quantised))
    means = _mean_inputs(exact, [layer.exact.input[0] for layer in layers], samples)
    users = _users(quantised.graph)
    return sum(
        _correct(quantised.graph, layer, means[layer.exact.input[0]], users) for layer in layers
    )


def _layers(exact: LightGraph, quantised: Any) -> Iterator[_Layer]:
    weights = {item.name: partial(exact.value, item) for item in exact.proto.graph.initializer}
    small = _constants(quantised.graph)
    nodes = {node.name: node for node in quantised.graph.node}
    makers = {name: node for node in quantised.graph.node for name in node.output}
    for node in exact.proto.graph.node:
        found = nodes.get(node.name)
        if node.op_type not in ('MatMul', 'Conv') or found is None:
            continue
        maker = makers.get(found.input[1])
        if node.input[1] not in weights or maker is None or maker.op_type != 'DequantizeLinear':
            continue
        rounded = _dequantised(maker, small)
        if rounded is None:
            continue
        if node.op_type == 'MatMul':
            scale = _smoothing(found, makers, small)
            rounded = rounded * scale.reshape(-1, 1)
        yield _Layer(node, found, weights[node.input[1]](), rounded)


def _dequantised(node: Any, constants: Mapping[str, Any]) -> Array | None:
    if not all(name in constants for name in node.input):
        return None
    values, scale = (constants[name]().astype(np.float32) for name in node.input[:2])
    zero = constants[node.input[2]]().astype(np.float32) if len(node.input) > 2 else np.float32(0)
    axis = next((item.i for item in node.attribute if item.name == 'axis'), 1)
    if scale.ndim == 1:
        shape = [1] * values.ndim
        shape[axis] = -1
        scale = scale.reshape(shape)
        zero = np.reshape(zero, shape) if np.ndim(zero) else zero
    made: Array = (values - zero) * scale
    return made


def _smoothing(node: Any, makers: Mapping[str, Any], constants: Mapping[str, Any]) -> Array:
    """Return what the input's channels are multiplied by before the product, to even them out."""
    name = node.input[0]
    while name in makers and makers[name].op_type in ('DequantizeLinear', 'QuantizeLinear'):
        name = makers[name].input[0]
    maker = makers.get(name)
    if maker is not None and maker.op_type == 'Mul' and 'smooth_quant' in maker.name:
        return np.asarray(constants[maker.input[1]](), np.float32)
    return np.ones(1, np.float32)


def _correct(graph: Any, layer: _Layer, mean: Array, users: Mapping[str, list[Any]]) -> bool:
    """Add the mean of what rounding changed to the layer's bias."""
    node, difference = layer.quantised, layer.weight - layer.rounded
    if node.op_type == 'MatMul':
        change = mean @ difference
        following = users.get(node.output[0], [])
        if len(following) != 1 or following[0].op_type != 'Add':
            return False
        names = [name for name in following[0].input if name != node.output[0]]
    else:
        change = np.einsum('oikl,i->o', difference, mean)  # what the border lacks is left out
        names = list(node.input[2:])
    stored = {item.name: item for item in graph.initializer}
    if not names or names[0] not in stored:
        return False
    _add(stored[names[0]], change)
    return True


def _add(item: Any, change: Array) -> None:
    import onnx

    values = onnx.numpy_helper.to_array(item)
    if values.size == change.size:
        made = (values + change.reshape(values.shape)).astype(values.dtype)
        item.CopyFrom(onnx.numpy_helper.from_array(made, item.name))


def _mean_inputs(
    model: LightGraph, names: Sequence[str], samples: Sequence[Mapping[str, Array]]
) -> dict[str, Array]:
    """Return the mean of some values over all samples and places, one number a channel."""
    import onnx
    import onnxruntime

    probed = model.copy()
    graph = probed.proto.graph
    wanted = sorted(set(names))
    by_conv = {node.input[0] for node in graph.node if node.op_type == 'Conv' and node.input}
    for axes in ('last', 'planes'):
        values = np.array([0, 1] if axes == 'last' else [0, 2, 3], np.int64)
        graph.initializer.append(onnx.numpy_helper.from_array(values, _MEAN + axes))
    for name in wanted:
        axes = 'planes' if name in by_conv else 'last'
        graph.node.append(
            onnx.helper.make_node('ReduceMean', [name, _MEAN + axes], [_MEAN + name], keepdims=0)
        )
        graph.output.append(
            onnx.helper.make_tensor_value_info(_MEAN + name, onnx.TensorProto.FLOAT, None)
        )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(
        probed.save('probed'), options, providers=['CPUExecutionProvider']
    )
    outputs = [_MEAN + name for name in wanted]
    sums = [session.run(outputs, dict(sample)) for sample in samples]
    return {
        name: np.mean([values[index] for values in sums], axis=0)
        for index, name in enumerate(wanted)
    }


def _constants(graph: Any) -> dict[str, Any]:
    """Return what reads each constant of a graph, by its name."""
    import onnx

    return {item.name: partial(onnx.numpy_helper.to_array, item) for item in graph.initializer}


def _users(graph: Any) -> dict[str, list[Any]]:
    users: dict[str, list[Any]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    return users
