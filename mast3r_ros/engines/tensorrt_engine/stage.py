# SPDX-License-Identifier: Apache-2.0
"""One stage of one size on the card: its ports, where they lie, and its work."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaAccess
from mast3r_ros.engines.tensorrt_engine.log import TensorRtLog
from mast3r_ros.errors import EngineFailed, ModelError

_KINDS = {'FLOAT': np.float32, 'HALF': np.float16, 'UINT8': np.uint8}  # by TensorRT's names
_numbers = itertools.count(1)


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
        self.runs = 0
        self._places: dict[str, int] = {'stage': next(_numbers)}

    @property
    def places(self) -> tuple[int, ...]:
        """Return what a graph of a run holds on to: this very stage, and where its memory lies."""
        return tuple(self._places.values())

    def bind(self, addresses: Mapping[str, int]) -> None:
        """Tell where the tensors of all ports lie."""
        for port in self.ports:
            done = self._context.set_tensor_address(port.name, addresses[port.name])
            if port.is_input:
                done = self._context.set_input_shape(port.name, port.shape) and done
            if not done:
                raise EngineFailed(
                    self._log.explain(f'TensorRT refuses the place of {port.name} in {self.name}')
                )
            self._places[port.name] = addresses[port.name]

    def use_scratch(self, address: int, nbytes: int) -> None:
        """Tell where the stage may keep what lies between its layers; nothing may be queued."""
        self._context.set_device_memory(address, nbytes)
        self._places['scratch'] = address
        self.runs = 0  # it may set itself up anew

    def queue(self) -> None:
        """Queue one run; the first lets TensorRT set itself up and may be no part of a graph."""
        if not self._context.execute_async_v3(self._cuda.stream):
            raise EngineFailed(self._log.explain(f'TensorRT failed in {self.name}'))
        self.runs += 1

    def close(self) -> None:
        """Free it; nothing of it may be queued."""
        self._context = None  # before its engine
        self._engine = None

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
