# SPDX-License-Identifier: Apache-2.0
"""A plain graph as a PyTorch module, so that Core ML gets the very graph that the others run."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    import onnx

_BYTES = 2  # ONNX's number of uint8


class PlainModule(nn.Module):
    """Computes a graph of :class:`~mast3r_ros.export.plain_graph.PlainGraph`.

    Bytes are float32 whole numbers here, as Core ML has none: what is cast to bytes in these
    graphs is whole and between 0 and 255 before.

    :raises InvalidInput: the graph has an operator that plain graphs do not use.
    """

    def __init__(self, graph: onnx.ModelProto) -> None:
        super().__init__()
        from onnx import helper, numpy_helper

        self._names: dict[str, str] = {}  # of buffers, by those of the graph's constants
        self._whole: dict[str, list[int]] = {}
        for item in graph.graph.initializer:
            values = np.array(numpy_helper.to_array(item))
            if values.dtype == np.int64:  # shapes, axes and ends, never data
                self._whole[item.name] = values.tolist()
            else:
                name = f'constant_{len(self._names)}'
                self.register_buffer(name, torch.from_numpy(values))
                self._names[item.name] = name
        self._steps = [
            (
                _operator(node.op_type),
                list(node.input),
                node.output[0],
                {each.name: helper.get_attribute_value(each) for each in node.attribute},
            )
            for node in graph.graph.node
        ]
        self._inputs = [item.name for item in graph.graph.input]
        self._outputs = [item.name for item in graph.graph.output]

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the graph's outputs."""
        values: dict[str, Any] = dict(self._whole)
        values |= {name: getattr(self, buffer) for name, buffer in self._names.items()}
        values |= dict(zip(self._inputs, inputs, strict=True))
        for work, names, output, attributes in self._steps:
            values[output] = work(*(values[name] for name in names), **attributes)
        return tuple(values[name] for name in self._outputs)


def _operator(kind: str) -> Callable[..., Any]:
    work = _OPERATORS.get(kind)
    if work is None:
        raise InvalidInput(f'{kind} is no operator of a plain graph; these have {_KNOWN}')
    return work


def _cast(value: Tensor, to: int) -> Tensor:
    return value.float() if to in (1, _BYTES) else value.to(torch.int32)


def _slice(value: Tensor, starts: list[int], ends: list[int], axes: list[int]) -> Tensor:
    for start, end, axis in zip(starts, ends, axes, strict=True):
        value = value.narrow(axis, start, end - start)
    return value


def _sum(value: Tensor, axes: list[int], keepdims: int) -> Tensor:
    return value.sum(axes, keepdim=bool(keepdims))


_OPERATORS: dict[str, Callable[..., Any]] = {
    'Add': torch.add,
    'ArgMax': lambda value, axis, keepdims: value.argmax(axis, bool(keepdims)),
    'Cast': _cast,
    'Clip': lambda value, low, high: torch.minimum(torch.maximum(value, low), high),
    'Concat': lambda *values, axis: torch.cat(values, axis),
    'Div': torch.div,
    'Floor': torch.floor,
    'Gather': lambda value, at, axis: torch.index_select(value, axis, at),
    'MatMul': torch.matmul,
    'Max': torch.maximum,
    'Mul': torch.mul,
    'ReduceSum': _sum,
    'Reshape': lambda value, shape: value.reshape(shape),
    'Slice': _slice,
    'Sqrt': torch.sqrt,
    'Sub': torch.sub,
    'Transpose': lambda value, perm: value.permute(tuple(perm)),
}
_KNOWN = ', '.join(sorted(_OPERATORS))
