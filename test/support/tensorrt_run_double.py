# SPDX-License-Identifier: Apache-2.0
"""What TensorRT runs engines with, in its stand-in: their graphs, on the simulated card's memory.

They compute with ONNX Runtime when the card gets to them.
"""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from simulated_card import Violation

if TYPE_CHECKING:
    from tensorrt_double import Double, Held, Member

_KINDS = {'tensor(float)': 'FLOAT', 'tensor(float16)': 'HALF', 'tensor(uint8)': 'UINT8'}
_TYPES = {'FLOAT': np.float32, 'HALF': np.float16, 'UINT8': np.uint8}


class RuntimeBody:
    def __init__(self, double: Double, logger: Any) -> None:
        assert logger._started
        self._double = double
        self._listener = weakref.ref(logger)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Held | None:
        listener = self._listener()
        if listener is None:
            raise Violation('the logger is gone while a runtime is used')
        self._double.card.check_current()
        if self._double.fails('deserialize_cuda_engine', listener):
            return None
        try:
            head = json.loads(bytes(serialized_engine).removeprefix(b'plan'))
        except ValueError:
            head = {}
        if head.get('tensorrt') != self._double.version:
            self._double.complain(listener, 'the plan is of another version')
            return None
        body = EngineBody(self._double, Path(head['graph']), self)
        return self._double.hold('ICudaEngine', body)


class EngineBody:
    """A graph in ONNX Runtime."""

    def __init__(self, double: Double, graph: Path, runtime: RuntimeBody) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(graph), options, providers=['CPUExecutionProvider']
        )
        self.double = double
        self.runtime = weakref.ref(runtime)
        self.inputs = {item.name: item for item in self.session.get_inputs()}
        self.outputs = {item.name: item for item in self.session.get_outputs()}
        self.ports = {**self.inputs, **self.outputs}
        self.num_io_tensors = len(self.ports)
        self.stage = graph.stem.partition('_')[2]
        self.device_memory_size_v2 = 1000 + 1000 * len(self.stage)  # another one for each stage

    def get_tensor_name(self, index: int) -> str:
        return list(self.ports)[index]

    def get_tensor_mode(self, name: str) -> Member:
        modes = self.double.module.TensorIOMode
        mode: Member = modes.INPUT if name in self.inputs else modes.OUTPUT
        return mode

    def get_tensor_dtype(self, name: str) -> Member:
        kind: Member = getattr(self.double.module.DataType, _KINDS[self.ports[name].type])
        return kind

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.ports[name].shape)

    def create_execution_context(self, strategy: Member | None = None) -> Held:
        assert strategy is not None
        assert strategy.name == 'USER_MANAGED'
        return self.double.hold('IExecutionContext', ContextBody(self))


class ContextBody:
    def __init__(self, engine: EngineBody) -> None:
        self._engine = weakref.ref(engine)
        self._card = engine.double.card
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._scratch = (0, 0)
        self._runs = 0

    def set_device_memory(self, memory: int, size: int) -> None:
        self._card.view(memory, size)
        self._scratch = (memory, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        engine = self._alive()
        self._shapes[name] = tuple(shape)
        return name in engine.inputs and tuple(engine.inputs[name].shape) == tuple(shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        engine = self._alive()
        self._card.view(memory, self._nbytes(engine, name))
        self._addresses[name] = memory
        return name in engine.ports

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine, card = self._alive(), self._card
        if stream_handle not in card.streams:
            raise Violation('the work is not for the queue of the engine')
        if set(self._addresses) != set(engine.ports) or set(self._shapes) != set(engine.inputs):
            raise Violation('a tensor has no place or no shape')
        if self._scratch[1] < engine.device_memory_size_v2:
            raise Violation(f'the scratch memory of {self._scratch[1]} bytes is too small')
        if card.captured is not None and not self._runs:
            raise Violation('the first run is captured, in which TensorRT sets itself up')
        listener = engine.runtime()
        if listener is None:
            raise Violation('the runtime is gone while its engine is used')
        self._runs += 1
        if engine.double.fails('execute_async_v3', listener._listener()):
            return False
        engine.double.queued.append(engine.stage)
        addresses, scratch = dict(self._addresses), self._scratch
        card.enqueue(lambda: self._work(addresses, scratch))
        return True

    def _work(self, addresses: dict[str, int], scratch: tuple[int, int]) -> None:
        """Read the inputs from the card, run the graph, write the outputs to the card."""
        engine = self._alive()
        engine.double.done.append(engine.stage)
        self._card.view(*scratch)[:] = 0x5A
        values = {}
        for name, item in engine.inputs.items():
            memory = self._card.view(addresses[name], self._nbytes(engine, name))
            values[name] = memory.view(_TYPES[_KINDS[item.type]]).reshape(item.shape).copy()
        for name, made in zip(engine.outputs, engine.session.run(None, values), strict=True):
            made = made + np.asarray(engine.double.spoil.get(name, 0.0), made.dtype)
            memory = self._card.view(addresses[name], made.nbytes)
            memory[:] = np.ascontiguousarray(made).view(np.uint8).ravel()

    def _alive(self) -> EngineBody:
        engine = self._engine()
        if engine is None:
            raise Violation('a context is used whose engine is gone')
        return engine

    def _nbytes(self, engine: EngineBody, name: str) -> int:
        item = engine.ports[name]
        return int(np.prod(item.shape)) * np.dtype(_TYPES[_KINDS[item.type]]).itemsize
