# SPDX-License-Identifier: Apache-2.0
"""CUDA by cuda-python."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from mast3r_ros.engines.tensorrt_engine.cuda_access import (
    Card,
    CudaAccess,
    CudaError,
    HostBytes,
    check_index,
    driver_version,
    has_module,
)
from mast3r_ros.errors import EngineUnavailable


class CudaPython(CudaAccess):
    """One card and one queue of its own, which waits for no other one."""

    can_capture = True

    def __init__(self, index: int) -> None:
        self._runtime = _runtime()
        check_index(index, self._count())
        self.card = self._describe(index)
        self.library = f'cuda-python, CUDA {self._call("cudaRuntimeGetVersion")}'
        with self.current():
            flags = self._runtime.cudaStreamNonBlocking
            self._stream = self._call('cudaStreamCreateWithFlags', flags)
        self.stream = int(self._stream)

    def activate(self) -> None:
        """Make the card the one that calls of this thread mean."""
        self._call('cudaSetDevice', self.card.index)

    def deactivate(self) -> None:
        """Leave the card as it is: whoever else uses CUDA names theirs."""

    def allocate(self, nbytes: int) -> int:
        """Return the address of new memory of the card."""
        return int(self._call('cudaMalloc', nbytes))

    def free(self, address: int) -> None:
        """Give memory of the card back."""
        self._call('cudaFree', address)

    def allocate_host(self, nbytes: int) -> HostBytes:
        """Return new page-locked memory of this process."""
        address = int(self._call('cudaMallocHost', nbytes))
        return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))

    def free_host(self, memory: HostBytes) -> None:
        """Give page-locked memory back."""
        self._call('cudaFreeHost', memory.ctypes.data)

    def copy_in(self, address: int, memory: HostBytes) -> None:
        """Queue a copy from page-locked memory to the card."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(address, memory.ctypes.data, memory.nbytes, kind)

    def copy_out(self, memory: HostBytes, address: int) -> None:
        """Queue a copy from the card to page-locked memory."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(memory.ctypes.data, address, memory.nbytes, kind)

    def copy_inside(self, address: int, source: int, nbytes: int) -> None:
        """Queue a copy on the card."""
        self._copy(address, source, nbytes, self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToDevice)

    def wait_for_all(self) -> None:
        """Wait until the queue is empty."""
        self._call('cudaStreamSynchronize', self._stream)

    def make_event(self) -> Any:
        """Return a mark for the queue."""
        return self._call('cudaEventCreateWithFlags', self._runtime.cudaEventDisableTiming)

    def free_event(self, event: Any) -> None:
        """Give a mark back."""
        self._call('cudaEventDestroy', event)

    def record(self, event: Any) -> None:
        """Put the mark at the end of the queue."""
        self._call('cudaEventRecord', event, self._stream)

    def is_reached(self, event: Any) -> bool:
        """Return whether the card has done everything before the mark."""
        (status,) = self._runtime.cudaEventQuery(event)
        if status == self._runtime.cudaError_t.cudaErrorNotReady:
            return False
        self._check('cudaEventQuery', status)
        return True

    def begin_capture(self) -> None:
        """Keep what this thread queues from now on instead of doing it."""
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call('cudaStreamBeginCapture', self._stream, mode)

    def end_capture(self) -> Any:
        """Return what was queued since :meth:`begin_capture` as a graph."""
        drawn = self._call('cudaStreamEndCapture', self._stream)
        try:
            return self._call('cudaGraphInstantiate', drawn, 0)
        finally:
            self._call('cudaGraphDestroy', drawn)

    def record_in_graph(self, event: Any) -> None:
        """Put the mark at this place of a graph."""
        # Without the flag it would only tell the graph's own nodes apart, and never be reached.
        flags = self._runtime.cudaEventRecordExternal
        self._call('cudaEventRecordWithFlags', event, self._stream, flags)

    def launch(self, graph: Any) -> None:
        """Queue a graph."""
        self._call('cudaGraphLaunch', graph, self._stream)

    def free_graph(self, graph: Any) -> None:
        """Give a graph back."""
        self._call('cudaGraphExecDestroy', graph)

    def close(self) -> None:
        """Give the queue back."""
        with self.current():
            self._call('cudaStreamDestroy', self._stream)

    def _copy(self, target: int, source: int, nbytes: int, kind: Any) -> None:
        self._call('cudaMemcpyAsync', target, source, nbytes, kind, self._stream)

    def _count(self) -> int:
        status, count = self._runtime.cudaGetDeviceCount()
        if status != self._runtime.cudaError_t.cudaSuccess:
            raise EngineUnavailable(
                f'CUDA finds no card: {self._words(status)}; check the driver with nvidia-smi'
            )
        return int(count)

    def _describe(self, index: int) -> Card:
        found = self._call('cudaGetDeviceProperties', index)
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        served = int(self._call('cudaDriverGetVersion'))
        capability = (int(found.major), int(found.minor))
        return Card(index, name.rstrip('\0'), capability, driver_version(served))

    def _call(self, name: str, *arguments: Any) -> Any:
        """Call a function of CUDA and return its one result, if it has one."""
        status, *made = getattr(self._runtime, name)(*arguments)
        self._check(name, status)
        return made[0] if made else None

    def _check(self, name: str, status: Any) -> None:
        if status != self._runtime.cudaError_t.cudaSuccess:
            raise CudaError(f'{name} of CUDA failed: {self._words(status)}')

    def _words(self, status: Any) -> str:
        _, text = self._runtime.cudaGetErrorString(status)
        words = text.decode() if isinstance(text, bytes) else str(text)
        return f'{words} ({int(status)})'


def _runtime() -> Any:
    """Import CUDA's runtime; it has another name in cuda-python before 12.6."""
    try:
        if has_module('cuda.bindings.runtime'):
            from cuda.bindings import runtime
        else:
            from cuda import cudart as runtime
    except (ImportError, RuntimeError) as error:
        raise EngineUnavailable(
            f'cuda-python cannot be imported: {error}; pip install cuda-python'
        ) from error
    return runtime
