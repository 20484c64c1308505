# SPDX-License-Identifier: Apache-2.0
"""One stage of one size on the card: its ports, where they lie, and its work as a graph."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaAccess, CudaError
from mast3r_ros.engines.tensorrt_engine.log import TensorRtLog
from mast3r_ros.errors import EngineFailed, ModelError

_log = logging.getLogger(__name__)

_KINDS = {'FLOAT': np.float32, 'HALF': np.float16, 'UINT8': np.uint8}  # by TensorRT's names


@dataclass(frozen=True)
class Port:
    """An input or output of a stage."""

    name: str
    is_input: bool
    shape: tuple[int, ...]
    kind: np.dtype[np.generic]

    @property
    def nbytes(self) -> int:
        """Memory of its tensor."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.kind.itemsize


class Stage:
    """A built engine with its context; it keeps no memory of its own but its weights.

    The first run is queued call by call, which lets TensorRT set itself up; the second is kept
    as a graph and launched, as is every later one.

    :param engine: a TensorRT engine; the stage frees it.
    """

    def __init__(
        self, library: Any, cuda: CudaAccess, log: TensorRtLog, engine: Any, name: str
    ) -> None:
        self.name = name
        self._library = library
        self._cuda = cuda
        self._log = log
        self._engine = engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self.ports = tuple(self._port(each) for each in names)
        self.scratch_bytes = int(engine.device_memory_size_v2)
        strategy = library.ExecutionContextAllocationStrategy.USER_MANAGED
        self._context = engine.create_execution_context(strategy=strategy)
        if self._context is None:
            raise EngineFailed(log.explain(f'TensorRT cannot prepare {name}'))
        self._graph: Any = None
        self._runs = 0
        self._captures = cuda.can_capture

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Tell where the tensors of all ports lie."""
        self._forget_graph()
        for port in self.ports:
            done = self._context.set_tensor_address(port.name, addresses[port.name])
            if port.is_input:
                done = self._context.set_input_shape(port.name, port.shape) and done
            if not done:
                raise EngineFailed(
                    self._log.explain(f'TensorRT refuses the place of {port.name} in {self.name}')
                )

    def use_scratch(self, address: int, nbytes: int) -> None:
        """Tell where the stage may keep what lies between its layers; nothing may be queued."""
        self._forget_graph()
        self._context.set_device_memory(address, nbytes)

    def queue(self) -> None:
        """Queue one run."""
        if self._graph is not None:
            self._cuda.launch(self._graph)
        elif self._captures and self._runs > 0:
            self._capture()
        else:
            self._enqueue()
        self._runs += 1

    def close(self) -> None:
        """Free it; nothing of it may be queued."""
        self._forget_graph()
        self._context = None  # before its engine
        self._engine = None

    def _enqueue(self) -> None:
        if not self._context.execute_async_v3(self._cuda.stream):
            raise EngineFailed(self._log.explain(f'TensorRT failed in {self.name}'))

    def _capture(self) -> None:
        """Keep a run as a graph and launch it; where that cannot be, run it call by call."""
        graph: Any = None
        try:
            self._cuda.begin_capture()
            try:
                self._enqueue()
            finally:
                graph = self._cuda.end_capture()
        except (CudaError, EngineFailed) as error:
            _log.warning('%s is run call by call, not as a graph: %s', self.name, error)
            self._captures = False
            if graph is not None:
                self._cuda.free_graph(graph)
            self._enqueue()
            return
        self._graph = graph
        self._cuda.launch(graph)

    def _forget_graph(self) -> None:
        if self._graph is not None:
            self._cuda.free_graph(self._graph)
            self._graph = None

    def _port(self, name: str) -> Port:
        mode = self._engine.get_tensor_mode(name)
        kind = self._engine.get_tensor_dtype(name).name
        if kind not in _KINDS:
            raise ModelError(
                f'{name} of {self.name} is {kind}, and the stages of a model pass '
                f'{", ".join(_KINDS)} only; export the model anew'
            )
        shape = tuple(int(side) for side in self._engine.get_tensor_shape(name))
        if min(shape) < 1:
            raise ModelError(
                f'{name} of {self.name} has the shape {shape}, which is not fixed; export the '
                'model anew'
            )
        is_input = mode == self._library.TensorIOMode.INPUT
        return Port(name, is_input, shape, np.dtype(_KINDS[kind]))
