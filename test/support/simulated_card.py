# SPDX-License-Identifier: Apache-2.0
"""A card made of NumPy that holds whoever uses it to CUDA's rules.

Work is done late: only when somebody waits or asks, one piece a question. Memory is full of noise
when it is lent and after it was given back, so that nothing works by luck.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

_NOISE = 0xFF  # NaN in every float format


class Violation(AssertionError):
    """A rule of CUDA or TensorRT was broken."""


@dataclass
class Mark:
    """An event of the queue."""

    reached: bool = False
    recorded: bool = False


@dataclass
class Reach:
    """Work that sets a mark."""

    mark: Mark

    def __call__(self) -> None:
        self.mark.reached = True


@dataclass
class SimulatedCard:
    """One card with one queue.

    :param is_stuck: while it is, no work is done although it is asked for.
    :param is_broken: while it is, every call fails, as after an error that lasts.
    """

    name: str = 'Simulated Orin'
    capability: tuple[int, int] = (8, 7)
    driver: int = 12060
    is_stuck: bool = False
    is_broken: bool = False
    queue: list[Callable[[], None]] = field(default_factory=list)
    captured: list[Callable[[], None]] | None = None
    launches: int = 0
    highest_bytes: int = 0
    allocations: int = 0

    def __post_init__(self) -> None:
        self._memory: dict[int, NDArray[np.uint8]] = {}
        self._pinned: dict[int, NDArray[np.uint8]] = {}
        self._retired: list[NDArray[np.uint8]] = []  # so that no address comes twice
        self._next = 0x7F00_0000_0000
        self._current = threading.local()
        self.streams: set[int] = set()
        self.marks: set[int] = set()
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self._numbers = iter(range(1, 1 << 30))

    def number(self) -> int:
        """Return a number that no other thing has."""
        return next(self._numbers)

    def enter(self) -> None:
        """Make the card the current one of this thread."""
        self._current.depth = getattr(self._current, 'depth', 0) + 1

    def leave(self) -> None:
        """Undo it."""
        self._current.depth -= 1

    def check_current(self) -> None:
        """Raise unless this thread made the card the current one."""
        if getattr(self._current, 'depth', 0) < 1:
            raise Violation('no card is current in this thread')

    def allocate(self, nbytes: int) -> int:
        """Lend memory of the card."""
        self._check_idle('memory is asked for')
        address, self._next = self._next, self._next + (nbytes + 4095) // 4096 * 4096 + 4096
        self._memory[address] = np.full(nbytes, _NOISE, np.uint8)
        self.allocations += 1
        self.highest_bytes = max(self.highest_bytes, self.held_bytes())
        return address

    def free(self, address: int) -> None:
        """Take memory of the card back."""
        self._check_idle('memory is given back')
        if self.queue:
            raise Violation('memory is given back while work is queued')
        if address not in self._memory:
            raise Violation(f'{address:#x} is given back, and it is not lent')
        del self._memory[address]

    def held_bytes(self) -> int:
        """Return how much memory of the card is lent."""
        return sum(memory.nbytes for memory in self._memory.values())

    def view(self, address: int, nbytes: int) -> NDArray[np.uint8]:
        """Return a part of lent memory."""
        for start, memory in self._memory.items():
            if start <= address and address + nbytes <= start + memory.nbytes:
                return memory[address - start : address - start + nbytes]
        raise Violation(f'{nbytes} bytes at {address:#x} are not lent memory of the card')

    def allocate_pinned(self, nbytes: int) -> NDArray[np.uint8]:
        """Lend page-locked memory."""
        self._check_idle('page-locked memory is asked for')
        memory = np.full(nbytes, _NOISE, np.uint8)
        self._pinned[memory.ctypes.data] = memory
        return memory

    def free_pinned(self, address: int) -> None:
        """Take page-locked memory back."""
        if self.queue:
            raise Violation('page-locked memory is given back while work is queued')
        if address not in self._pinned:
            raise Violation('page-locked memory is given back that is not lent')
        memory = self._pinned.pop(address)
        memory[:] = _NOISE
        self._retired.append(memory)

    def pinned(self, address: int, nbytes: int) -> NDArray[np.uint8]:
        """Return page-locked memory; a copy that does not wait needs such."""
        memory = self._pinned.get(address)
        if memory is None or nbytes > memory.nbytes:
            raise Violation(f'{nbytes} bytes at {address:#x} are no page-locked memory')
        return memory[:nbytes]

    def enqueue(self, work: Callable[[], None]) -> None:
        """Queue work, or keep it for a graph."""
        self.check_current()
        (self.queue if self.captured is None else self.captured).append(work)

    def record(self, mark: Mark) -> None:
        """Put a mark at the end of the queue."""
        if self.captured is not None:
            raise Violation(
                'in a graph such a mark is never reached for whoever asks from outside'
            )
        mark.reached, mark.recorded = False, True
        self.enqueue(Reach(mark))

    def record_in_graph(self, mark: Mark) -> None:
        """Put a mark into a graph, each launch of which sets it anew."""
        if self.captured is None:
            raise Violation('a mark of a graph is set while none is captured')
        self.enqueue(Reach(mark))

    def ask(self, mark: Mark) -> bool:
        """Return whether a mark is reached; each question gets one piece of work done."""
        if not mark.recorded:
            return True
        if not mark.reached:
            self._work(1)
        return mark.reached

    def wait(self) -> None:
        """Do all that is queued."""
        self.check_current()
        if self.captured is not None:
            raise Violation('somebody waits while a graph is captured')
        if self.is_stuck:
            self.is_stuck = False  # a real one would hang here; the tests go on
        self._work(len(self.queue))

    def begin_capture(self) -> None:
        """Keep what comes."""
        self.check_current()
        if self.captured is not None:
            raise Violation('a graph is captured already')
        self.captured = []

    def end_capture(self) -> list[Callable[[], None]]:
        """Return what was kept."""
        kept, self.captured = self.captured, None
        if kept is None:
            raise Violation('no graph was begun')
        return kept

    def launch(self, works: list[Callable[[], None]]) -> None:
        """Queue a graph."""
        if self.captured is not None:
            raise Violation('a graph is launched while another one is captured')
        self.launches += 1
        for work in works:
            if isinstance(work, Reach):
                work.mark.reached, work.mark.recorded = False, True
            self.enqueue(work)

    def copy(self, target: NDArray[np.uint8], source: NDArray[np.uint8]) -> None:
        """Copy bytes."""
        target[:] = source

    def left(self) -> dict[str, int]:
        """Return what nobody gave back, by kind."""
        kinds = {
            'memory': len(self._memory),
            'page-locked memory': len(self._pinned),
            'streams': len(self.streams),
            'events': len(self.marks),
            'graphs': len(self.graphs),
            'queued work': len(self.queue),
            'current': getattr(self._current, 'depth', 0),
        }
        return {name: count for name, count in kinds.items() if count}

    def _work(self, pieces: int) -> None:
        for _ in range(0 if self.is_stuck else min(pieces, len(self.queue))):
            self.queue.pop(0)()

    def _check_idle(self, what: str) -> None:
        self.check_current()
        if self.captured is not None:
            raise Violation(f'{what} while a graph is captured')
