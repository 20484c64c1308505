# SPDX-License-Identifier: Apache-2.0
"""The module ``pycuda.driver`` on a simulated card, as far as release 2026.1 has it."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import numpy as np
from installed_modules import installed_modules
from numpy.typing import NDArray
from simulated_card import Mark, SimulatedCard


@contextmanager
def pycuda(card: SimulatedCard) -> Iterator[ModuleType]:
    """Put the card behind the module ``pycuda.driver``."""
    parent, driver = ModuleType('pycuda'), _driver(card)
    parent.__path__ = []  # type: ignore[attr-defined]
    parent.driver = driver  # type: ignore[attr-defined]
    hidden = ('cuda', 'cuda.bindings', 'cuda.bindings.runtime', 'cuda.cudart')
    with installed_modules([parent, driver], hidden=hidden):
        yield driver


class _Pagelocked:
    """What page-locked arrays of PyCUDA rest on."""

    def __init__(self, card: SimulatedCard, memory: NDArray[np.uint8]) -> None:
        self._card = card
        self._address = memory.ctypes.data
        self.__array_interface__ = memory.__array_interface__

    def free(self) -> None:
        self._card.free_pinned(self._address)


class _Allocation:
    """Memory of the card in PyCUDA."""

    def __init__(self, card: SimulatedCard, nbytes: int) -> None:
        self._card = card
        self._address = card.allocate(nbytes)

    def __int__(self) -> int:
        return self._address

    def free(self) -> None:
        self._card.free(self._address)


def _driver(card: SimulatedCard) -> ModuleType:
    """Return PyCUDA's module, as far as release 2026.1 has it."""
    module: Any = ModuleType('pycuda.driver')

    class Error(Exception):
        """Of PyCUDA."""

    class Context:
        def push(self) -> None:
            card.enter()

        @staticmethod
        def pop() -> None:
            card.leave()

        def detach(self) -> None:
            """Let go of it."""

    class Device:
        def __init__(self, number: int) -> None:
            assert number == 0

        @staticmethod
        def count() -> int:
            return 1

        def name(self) -> str:
            return card.name

        def compute_capability(self) -> tuple[int, int]:
            return card.capability

        def retain_primary_context(self) -> Context:
            return Context()

    class Stream:
        def __init__(self, flags: int = 0) -> None:
            assert flags == 1
            card.check_current()
            self.handle = card.number()
            card.streams.add(self.handle)

        def synchronize(self) -> None:
            card.wait()

        def __del__(self) -> None:
            card.streams.discard(self.handle)

    class Event:
        def __init__(self, flags: int = 0) -> None:
            self._mark = Mark()

        def record(self, stream: Stream) -> None:
            assert isinstance(stream, Stream)
            card.record(self._mark)

        def query(self) -> bool:
            return card.ask(self._mark)

    def pagelocked_empty(shape: int, dtype: Any) -> NDArray[np.uint8]:
        assert dtype is np.uint8
        return np.asarray(_Pagelocked(card, card.allocate_pinned(shape)))

    def memcpy_htod_async(dest: int, src: NDArray[np.uint8], stream: Stream) -> None:
        place, count = src.ctypes.data, src.nbytes
        card.enqueue(lambda: card.copy(card.view(dest, count), card.pinned(place, count)))

    def memcpy_dtoh_async(dest: NDArray[np.uint8], src: int, stream: Stream) -> None:
        place, count = dest.ctypes.data, dest.nbytes
        card.enqueue(lambda: card.copy(card.pinned(place, count), card.view(src, count)))

    def memcpy_dtod_async(dest: int, src: int, size: int, stream: Stream) -> None:
        card.enqueue(lambda: card.copy(card.view(dest, size), card.view(src, size)))

    class Flags(enum.IntEnum):
        DISABLE_TIMING = 2

    module.init = lambda flags=0: None
    module.get_version = lambda: (12, 6, 0)
    module.get_driver_version = lambda: card.driver
    module.mem_alloc = lambda nbytes: _Allocation(card, nbytes)
    for thing in (Error, Context, Device, Stream, Event):
        setattr(module, thing.__name__, thing)
    for function in (pagelocked_empty, memcpy_htod_async, memcpy_dtoh_async, memcpy_dtod_async):
        setattr(module, function.__name__, function)
    module.event_flags = Flags
    return module
