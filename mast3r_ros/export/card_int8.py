# SPDX-License-Identifier: Apache-2.0
"""Eight-bit graphs for cards: products in whole numbers, everything else in the graph's float16.

TensorRT takes QuantizeLinear and DequantizeLinear around products, without zero points. What
sticks out of the activations is moved into the weights beforehand, channel by channel; a product
that loses too much on the pictures all the same stays in float16.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.export.graph_constants import add_constant
from mast3r_ros.export.graph_runner import can_run_graphs

if TYPE_CHECKING:
    import onnx_ir as ir

_log = logging.getLogger(__name__)

_OPSET = 19  # the first whose quantising takes float16; TensorRT 10.3 knows 20
_LARGEST = 127.0
_SMALLEST_SCALE = 2.0**-14  # below it float16 has fewer bits
_MOST_LOSS = 0.05  # of a product, as a share of its norm
_ROWS = 256  # of a picture's activations that a product is tried on

Float32 = NDArray[np.float32]


@dataclass
class Activations:
    """What a product gets for the pictures.

    :param largest: of each channel.
    :param rows: some of them.
    """

    largest: Float32
    rows: Float32


def require_runner() -> None:
    """Raise, naming what to install, unless what finds the ranges is here."""
    if not can_run_graphs():
        raise EngineUnavailable(
            'an int8_fp16 export finds its ranges by running graphs, which needs onnxruntime; '
            "pip install 'mast3r_ros[onnx]'"
        )


def quantise_for_cards(
    model: ir.Model,
    samples: Sequence[Mapping[str, NDArray[Any]]],
    parameters: Collection[str],
    own_names: str,
) -> list[str]:
    """Turn the float16 products with constant weights into eight-bit ones.

    :param samples: what the stage gets for some pictures.
    :param parameters: names of the network's weights.
    :param own_names: goes before the names of weights that no other graph shares.
    :return: names of the initializers for the weights file.
    """
    groups = _products(model)
    seen = _activations(model, [factor.name or '' for factor in groups], samples)
    made: list[str] = []
    for factor, nodes in groups.items():
        made += _quantise_group(model, factor, nodes, seen[factor.name or ''], own_names)
    model.graph.opset_imports[''] = _OPSET
    for name in [name for name, value in model.graph.initializers.items() if not value.uses()]:
        del model.graph.initializers[name]
    return [*(name for name in parameters if name in model.graph.initializers), *made]


def smoothing(largest: Float32, weights: Sequence[Float32]) -> Float32:
    """Return what each channel is divided by, and its row of the weights multiplied with."""
    strongest = np.max([np.abs(weight).max(axis=1) for weight in weights], axis=0)
    scale = np.sqrt(np.maximum(largest, 1e-6) / np.maximum(strongest, 1e-6))
    rounded: Float32 = np.clip(scale, 2.0**-6, 2.0**6).astype(np.float16).astype(np.float32)
    return rounded


def whole_numbers(values: Float32, largest: Float32) -> tuple[NDArray[np.int8], NDArray[Any]]:
    """Return values as whole numbers and the float16 scale that makes them so."""
    scale = np.maximum(largest / _LARGEST, _SMALLEST_SCALE).astype(np.float16)
    whole = np.clip(np.rint(values / scale.astype(np.float32)), -_LARGEST, _LARGEST)
    return whole.astype(np.int8), scale


def _products(model: ir.Model) -> dict[ir.Value, list[ir.Node]]:
    """Return the float16 products with constant weights, by what they multiply."""
    groups: dict[ir.Value, list[ir.Node]] = {}
    for node in model.graph:
        weight = node.inputs[1] if node.op_type == 'MatMul' else None
        if weight is None or weight.const_value is None or node.inputs[0] is None:
            continue
        values = weight.const_value.numpy()
        if values.ndim == 2 and values.dtype == np.float16:
            groups.setdefault(node.inputs[0], []).append(node)
    return groups


def _activations(
    model: ir.Model, names: Sequence[str], samples: Sequence[Mapping[str, NDArray[Any]]]
) -> dict[str, Activations]:
    """Run the graph on the samples and keep what its products get."""
    import onnx
    import onnx_ir as ir
    import onnxruntime

    require_runner()
    proto = ir.to_proto(model)
    known = {item.name for item in proto.graph.output}
    proto.graph.output.extend(
        onnx.ValueInfoProto(name=name) for name in names if name not in known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=['CPUExecutionProvider']
    )
    halves = {item.name for item in session.get_inputs() if 'float16' in item.type}
    found: dict[str, Activations] = {}
    for sample in samples:
        feeds = {
            name: values.astype(np.float16) if name in halves else values
            for name, values in sample.items()
        }
        for name, values in zip(names, session.run(list(names), feeds), strict=True):
            rows = np.asarray(values, np.float32).reshape(-1, values.shape[-1])
            found[name] = _with(found.get(name), rows)
    return found


def _with(known: Activations | None, rows: Float32) -> Activations:
    largest = np.abs(rows).max(axis=0)
    some = rows[:: max(1, len(rows) // _ROWS)]
    if known is None:
        return Activations(largest, some)
    return Activations(np.maximum(known.largest, largest), np.concatenate([known.rows, some]))


def _quantise_group(
    model: ir.Model, factor: ir.Value, nodes: Sequence[ir.Node], seen: Activations, own_names: str
) -> list[str]:
    """Put eight-bit products in the place of those that share a factor."""
    weights = [_weight(node) for node in nodes]
    smooth = smoothing(seen.largest, weights)
    rows = seen.rows / smooth
    whole_rows, step = whole_numbers(rows, np.asarray((seen.largest / smooth).max()))
    kept: list[tuple[ir.Node, NDArray[np.int8], NDArray[Any]]] = []
    for node, weight in zip(nodes, weights, strict=True):
        moved = weight * smooth[:, np.newaxis]
        whole, scale = whole_numbers(moved, np.abs(moved).max(axis=0))
        exact = rows @ moved
        product = (whole_rows.astype(np.float32) @ whole.astype(np.float32)) * np.float32(step)
        apart = np.linalg.norm(product * scale.astype(np.float32) - exact)
        loss = float(apart / max(float(np.linalg.norm(exact)), 1e-12))
        if loss <= _MOST_LOSS:
            kept.append((node, whole, scale))
        else:
            _log.info('%s stays in float16: it would lose %.1f %%', _name(node), 100 * loss)
    if not kept:
        return []
    eight_bit = _eight_bit_factor(model, kept[0][0], factor, smooth, step)
    return [
        name
        for node, whole, scale in kept
        for name in _replace_weight(model, node, eight_bit, whole, scale, own_names)
    ]


def _eight_bit_factor(
    model: ir.Model, before: ir.Node, factor: ir.Value, smooth: Float32, step: NDArray[Any]
) -> ir.Value:
    """Insert what brings a factor to eight bits and back; TensorRT takes both into the product."""
    import onnx_ir as ir

    divide = add_constant(model, f'{factor.name}.smooth', (1.0 / smooth).astype(np.float16))
    scale = add_constant(model, f'{factor.name}.step', step)
    zero = add_constant(model, f'{factor.name}.zero', np.zeros((), np.int8))
    smoothed = ir.node('Mul', [factor, divide])
    quantised = ir.node('QuantizeLinear', [smoothed.outputs[0], scale, zero])
    back = ir.node('DequantizeLinear', [quantised.outputs[0], scale, zero])
    for node, ending in ((smoothed, 'smoothed'), (quantised, 'int8'), (back, 'half')):
        node.outputs[0].name = f'{factor.name}.{ending}'
        node.name = f'{factor.name}.{ending}'
    model.graph.insert_before(before, [smoothed, quantised, back])
    return back.outputs[0]


def _replace_weight(
    model: ir.Model,
    node: ir.Node,
    factor: ir.Value,
    whole: NDArray[np.int8],
    scale: NDArray[Any],
    own_names: str,
) -> tuple[str, str]:
    """Have a product multiply whole numbers; return the names of what is stored for it."""
    import onnx_ir as ir

    start = f'{own_names}.{_name(node)}.{factor.name}'  # both views may multiply one weight
    names = (f'{start}.int8', f'{start}.scale')
    stored = [
        add_constant(model, name, values)
        for name, values in zip(names, (whole, scale), strict=True)
    ]
    weight = ir.node('DequantizeLinear', stored, {'axis': 1}, name=f'{names[0]}.half')
    weight.outputs[0].name = f'{names[0]}.half'
    model.graph.insert_before(node, weight)
    node.replace_input_with(0, factor)
    node.replace_input_with(1, weight.outputs[0])
    return names


def _weight(node: ir.Node) -> Float32:
    value = node.inputs[1]
    assert value is not None
    assert value.const_value is not None
    return np.asarray(value.const_value.numpy(), np.float32)


def _name(node: ir.Node) -> str:
    value = node.inputs[1]
    return (value.name if value is not None else None) or node.name or 'weight'
