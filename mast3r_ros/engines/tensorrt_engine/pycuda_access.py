# SPDX-License-Identifier: Apache-2.0
"""CUDA by PyCUDA, for machines that have that and no cuda-python."""

from __future__ import annotations

from typing import Any

import numpy as np

from mast3r_ros.engines.tensorrt_engine.cuda_access import (
    Card,
    CudaAccess,
    CudaError,
    HostBytes,
    check_index,
    driver_version,
)
from mast3r_ros.errors import EngineUnavailable

_NON_BLOCKING = 1  # of a stream: it does not wait for the one that all of a process share


class PyCuda(CudaAccess):
    """One card and one queue, in the context that CUDA's own runtime uses.

    PyCUDA has no graphs, so every call is queued by itself.
    """

    can_capture = False

    def __init__(self, index: int) -> None:
        self._driver = _driver()
        try:
            self._driver.init()
            check_index(index, self._driver.Device.count())
            device = self._driver.Device(index)
            self._context = device.retain_primary_context()
        except self._driver.Error as error:
            raise EngineUnavailable(
                f'CUDA finds no card: {error}; check the driver with nvidia-smi'
            ) from error
        served = driver_version(self._driver.get_driver_version())
        self.card = Card(index, device.name(), tuple(device.compute_capability()), served)
        self.library = f'pycuda, CUDA {".".join(map(str, self._driver.get_version()))}'
        self._memory: dict[int, Any] = {}
        with self.current():
            self._stream = self._do(self._driver.Stream, _NON_BLOCKING)
        self.stream = int(self._stream.handle)

    def activate(self) -> None:
        """Make the card the one that calls of this thread mean."""
        self._do(self._context.push)

    def deactivate(self) -> None:
        """Give the thread back what it had before."""
        self._do(self._driver.Context.pop)

    def allocate(self, nbytes: int) -> int:
        """Return the address of new memory of the card."""
        memory = self._do(self._driver.mem_alloc, nbytes)
        self._memory[int(memory)] = memory
        return int(memory)

    def free(self, address: int) -> None:
        """Give memory of the card back."""
        self._do(self._memory.pop(address).free)

    def allocate_host(self, nbytes: int) -> HostBytes:
        """Return new page-locked memory of this process."""
        memory: HostBytes = self._do(self._driver.pagelocked_empty, nbytes, np.uint8)
        return memory

    def free_host(self, memory: HostBytes) -> None:
        """Give page-locked memory back."""
        self._do(memory.base.free)  # type: ignore[union-attr]

    def copy_in(self, address: int, memory: HostBytes) -> None:
        """Queue a copy from page-locked memory to the card."""
        self._do(self._driver.memcpy_htod_async, address, memory, self._stream)

    def copy_out(self, memory: HostBytes, address: int) -> None:
        """Queue a copy from the card to page-locked memory."""
        self._do(self._driver.memcpy_dtoh_async, memory, address, self._stream)

    def copy_inside(self, address: int, source: int, nbytes: int) -> None:
        """Queue a copy on the card."""
        self._do(self._driver.memcpy_dtod_async, address, source, nbytes, self._stream)

    def wait_for_all(self) -> None:
        """Wait until the queue is empty."""
        self._do(self._stream.synchronize)

    def make_event(self) -> Any:
        """Return a mark for the queue."""
        return self._do(self._driver.Event, self._driver.event_flags.DISABLE_TIMING)

    def free_event(self, event: Any) -> None:
        """Let go of a mark; it goes with the last who holds it."""

    def record(self, event: Any) -> None:
        """Put the mark at the end of the queue."""
        self._do(event.record, self._stream)

    def is_reached(self, event: Any) -> bool:
        """Return whether the card has done everything before the mark."""
        return bool(self._do(event.query))

    def begin_capture(self) -> None:
        """Say that there are no graphs."""
        raise CudaError('PyCUDA has no graphs; install cuda-python for them')

    def end_capture(self) -> Any:
        """Say that there are no graphs."""
        self.begin_capture()

    def record_in_graph(self, event: Any) -> None:
        """Say that there are no graphs."""
        self.begin_capture()

    def launch(self, graph: Any) -> None:
        """Say that there are no graphs."""
        self.begin_capture()

    def free_graph(self, graph: Any) -> None:
        """Do nothing: there are none."""

    def close(self) -> None:
        """Give the queue and the context back."""
        with self.current():
            del self._stream
        self._do(self._context.detach)

    def _do(self, function: Any, *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except self._driver.Error as error:
            raise CudaError(f'CUDA failed: {error}') from error


def _driver() -> Any:
    try:
        import pycuda.driver as driver
    except ImportError as error:
        raise EngineUnavailable(
            f'pycuda cannot be imported: {error}; pip install cuda-python'
        ) from error
    return driver
