# SPDX-License-Identifier: Apache-2.0
"""Writes small ONNX graphs by hand, out of plain operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.errors import EngineUnavailable

if TYPE_CHECKING:
    import onnx

_OPSET = 18
_IR_VERSION = 10  # what runtimes two years back still read


class PlainGraph:
    """A graph that grows node by node; values are known by their names.

    :param name: of the graph.
    """

    def __init__(self, name: str) -> None:
        self._onnx = _onnx()
        self._name = name
        self._nodes: list[Any] = []
        self._constants: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, kind: int, shape: tuple[int, ...]) -> str:
        """Add an input of an element type as ONNX numbers it."""
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, shape))
        return name

    def output(
        self,
        kind: str,
        values: str | Sequence[str],
        name: str,
        element: int,
        shape: tuple[int, ...],
        **attributes: Any,
    ) -> None:
        """Add a last node, whose output leaves the graph under a name."""
        self._outputs.append(self._onnx.helper.make_tensor_value_info(name, element, shape))
        inputs = [values] if isinstance(values, str) else list(values)
        self._nodes.append(self._onnx.helper.make_node(kind, inputs, [name], **attributes))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """Add an array under a name; adding the same again changes nothing."""
        if name not in self._constants:
            self._constants[name] = self._onnx.numpy_helper.from_array(values, name)
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output and return that."""
        value = f'{kind.lower()}_{len(self._nodes)}'
        made = self._onnx.helper.make_node(kind, list(inputs), [value], **attributes)
        self._nodes.append(made)
        return value

    def cast(self, value: str, kind: int) -> str:
        """Turn a value into another element type."""
        return self.node('Cast', value, to=kind)

    def reshape(self, value: str, shape: tuple[int, ...]) -> str:
        """Lay a value out anew."""
        name = 'shape_' + 'x'.join(map(str, shape))
        return self.node('Reshape', value, self.constant(name, np.array(shape, np.int64)))

    def slice(self, value: str, axis: int, first: int, end: int) -> str:
        """Cut a value out along an axis."""
        sides = [
            self.constant(f'index_{number}', np.array([number], np.int64))
            for number in (first, end, axis)
        ]
        return self.node('Slice', value, *sides)

    def number(self, value: float) -> str:
        """Add a single float32."""
        return self.constant(f'number_{value:g}', np.array(value, np.float32))

    def model(self) -> onnx.ModelProto:
        """Return the finished graph."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, list(self._constants.values())
        )
        opset = helper.make_opsetid('', _OPSET)
        model: onnx.ModelProto = helper.make_model(
            graph, opset_imports=[opset], ir_version=_IR_VERSION, producer_name='mast3r_ros'
        )
        return model


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise EngineUnavailable(
            f"onnx cannot be imported: {error}; pip install 'mast3r_ros[export]'"
        ) from error
    return onnx
