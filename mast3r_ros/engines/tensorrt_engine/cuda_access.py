# SPDX-License-Identifier: Apache-2.0
"""The little of CUDA that the engine needs, whichever library gives access to it."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.errors import EngineFailed, EngineUnavailable

HostBytes = NDArray[np.uint8]
"""Page-locked memory of this process, which the card reads and writes by itself."""

# Where the running driver says which one it is; a Jetson's is part of its system.
_DRIVERS = (Path('/sys/module/nvidia/version'), Path('/etc/nv_tegra_release'))


class CudaError(EngineFailed):
    """A call of CUDA failed."""


@dataclass(frozen=True)
class Card:
    """The card that an engine runs on.

    :param capability: which instructions it has: ``(8, 7)`` is a Jetson Orin.
    :param driver: version of the driver, with what it serves of CUDA.
    """

    index: int
    name: str
    capability: tuple[int, int]
    driver: str


class CudaAccess(abc.ABC):
    """One card, and one queue of work for it, which is done in order.

    Every call but :meth:`is_reached` is made inside :meth:`current`. Addresses are plain numbers;
    events and graphs are values of the library.
    """

    library: str
    """What gives access, with its version."""
    card: Card
    stream: int
    """The queue, as TensorRT takes it."""
    can_capture: bool
    """Whether a row of calls can be kept as a graph and put into the queue as one."""

    @abc.abstractmethod
    def activate(self) -> None:
        """Make the card the one that calls of this thread mean."""

    @abc.abstractmethod
    def deactivate(self) -> None:
        """Undo :meth:`activate`."""

    @contextmanager
    def current(self) -> Iterator[None]:
        """Hold calls together that mean this card."""
        self.activate()
        try:
            yield
        finally:
            self.deactivate()

    @abc.abstractmethod
    def allocate(self, nbytes: int) -> int:
        """Return the address of new memory of the card."""

    @abc.abstractmethod
    def free(self, address: int) -> None:
        """Give memory of the card back; nothing in the queue may need it."""

    @abc.abstractmethod
    def allocate_host(self, nbytes: int) -> HostBytes:
        """Return new page-locked memory of this process."""

    @abc.abstractmethod
    def free_host(self, memory: HostBytes) -> None:
        """Give page-locked memory back; nobody may look at it afterwards."""

    @abc.abstractmethod
    def copy_in(self, address: int, memory: HostBytes) -> None:
        """Queue a copy from page-locked memory to the card."""

    @abc.abstractmethod
    def copy_out(self, memory: HostBytes, address: int) -> None:
        """Queue a copy from the card to page-locked memory."""

    @abc.abstractmethod
    def copy_inside(self, address: int, source: int, nbytes: int) -> None:
        """Queue a copy on the card."""

    @abc.abstractmethod
    def wait_for_all(self) -> None:
        """Wait until the queue is empty."""

    @abc.abstractmethod
    def make_event(self) -> Any:
        """Return a mark for the queue."""

    @abc.abstractmethod
    def free_event(self, event: Any) -> None:
        """Give a mark back."""

    @abc.abstractmethod
    def record(self, event: Any) -> None:
        """Put the mark at the end of the queue."""

    @abc.abstractmethod
    def is_reached(self, event: Any) -> bool:
        """Return whether the card has done everything before the mark."""

    @abc.abstractmethod
    def begin_capture(self) -> None:
        """Keep what is queued from now on instead of doing it."""

    @abc.abstractmethod
    def end_capture(self) -> Any:
        """Return what was queued since :meth:`begin_capture` as a graph."""

    @abc.abstractmethod
    def record_in_graph(self, event: Any) -> None:
        """Put the mark at this place of a graph: every launch sets it anew."""

    @abc.abstractmethod
    def launch(self, graph: Any) -> None:
        """Queue a graph."""

    @abc.abstractmethod
    def free_graph(self, graph: Any) -> None:
        """Give a graph back; it must not be in the queue any more."""

    @abc.abstractmethod
    def close(self) -> None:
        """Give the queue back."""


def open_cuda(index: int) -> CudaAccess:
    """Return access to a card: by cuda-python, else by PyCUDA.

    :raises EngineUnavailable: neither is installed, or the card cannot be had.
    """
    if has_module('cuda.bindings.runtime') or has_module('cuda.cudart'):
        from mast3r_ros.engines.tensorrt_engine.cuda_python import CudaPython

        return CudaPython(index)
    if has_module('pycuda.driver'):
        from mast3r_ros.engines.tensorrt_engine.pycuda_access import PyCuda

        return PyCuda(index)
    raise EngineUnavailable(f'{NO_ACCESS}; pip install cuda-python')


NO_ACCESS = 'neither cuda-python nor pycuda is installed, and TensorRT needs one of them'


def has_module(name: str) -> bool:
    """Return whether a module of a library is installed; it is not imported, its parents are."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def driver_version(served: int) -> str:
    """Return which driver runs here.

    :param served: newest version of CUDA that it serves, as CUDA writes it: 12060 is 12.6.
    """
    text = f'CUDA {served // 1000}.{served % 1000 // 10}'
    for path in _DRIVERS:
        try:
            first = path.read_text(encoding='utf-8', errors='replace').splitlines()[0]
        except (OSError, IndexError):
            continue
        return f'{text} {first.strip()}'
    return text


def check_index(index: int, found: int) -> None:
    """Raise unless there is a card of that number."""
    if not 0 <= index < found:
        seen = f'{found} card{"s" * (found != 1)}, the first is 0' if found else 'no card'
        raise EngineUnavailable(
            f'runtime.device is {index} and CUDA sees {seen}; check the driver and runtime.device'
        )
