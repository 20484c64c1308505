# SPDX-License-Identifier: Apache-2.0
"""A card made of NumPy that holds whoever uses it to CUDA's rules, and fills two libraries' place.

Work is done late: only when somebody waits or asks, one piece a question. Memory is full of noise
when it is lent and after it was given back, so that nothing works by luck.
"""

from __future__ import annotations

import enum
import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

FACTS = Path(__file__).resolve().parents[1] / 'data' / 'tensorrt_api'
_NOISE = 0xFF  # NaN in every float format


class Violation(AssertionError):
    """A rule of CUDA or TensorRT was broken."""


@dataclass
class Mark:
    """An event of the queue."""

    reached: bool = False
    recorded: bool = False


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
        mark.reached, mark.recorded = False, True

        def reach() -> None:
            mark.reached = True

        self.enqueue(reach)

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
        self.launches += 1
        for work in works:
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


@contextmanager
def cuda_python(card: SimulatedCard) -> Iterator[ModuleType]:
    """Put the card behind the module ``cuda.bindings.runtime``."""
    runtime = _runtime(card)
    parents = [ModuleType('cuda'), ModuleType('cuda.bindings')]
    for parent in parents:
        parent.__path__ = []  # type: ignore[attr-defined]  # makes it a package
    parents[1].runtime = runtime  # type: ignore[attr-defined]
    with _installed([*parents, runtime], hidden=('pycuda', 'pycuda.driver')):
        yield runtime


@contextmanager
def pycuda(card: SimulatedCard) -> Iterator[ModuleType]:
    """Put the card behind the module ``pycuda.driver``."""
    parent, driver = ModuleType('pycuda'), _driver(card)
    parent.__path__ = []  # type: ignore[attr-defined]
    parent.driver = driver  # type: ignore[attr-defined]
    hidden = ('cuda', 'cuda.bindings', 'cuda.bindings.runtime', 'cuda.cudart')
    with _installed([parent, driver], hidden=hidden):
        yield driver


@contextmanager
def installed_module(module: ModuleType) -> Iterator[None]:
    """Have a module found by its name."""
    with _installed([module], hidden=()):
        yield


@contextmanager
def _installed(modules: list[ModuleType], hidden: tuple[str, ...]) -> Iterator[None]:
    before = dict(sys.modules)
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it fails
    for module in modules:
        module.__spec__ = ModuleSpec(module.__name__, None)
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        for name in [*hidden, *(module.__name__ for module in modules)]:
            sys.modules.pop(name, None)
            if name in before:
                sys.modules[name] = before[name]


class _Status(enum.IntEnum):
    cudaSuccess = 0
    cudaErrorInvalidValue = 1
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100
    cudaErrorNotReady = 600
    cudaErrorIllegalAddress = 700


class _Kind(enum.IntEnum):
    cudaMemcpyHostToDevice = 1
    cudaMemcpyDeviceToHost = 2
    cudaMemcpyDeviceToDevice = 3


class _Mode(enum.IntEnum):
    cudaStreamCaptureModeGlobal = 0
    cudaStreamCaptureModeThreadLocal = 1


class _Handle(int):
    """A stream, event or graph of CUDA: a number that is not to be mistaken for another kind."""


def _runtime(card: SimulatedCard) -> ModuleType:
    module = ModuleType('cuda.bindings.runtime')
    facts = json.loads((FACTS / 'cuda_runtime.json').read_text(encoding='utf-8'))
    made = _RuntimeFunctions(card)
    for name, arguments in facts.items():
        setattr(module, name, _checked(card, name, arguments, getattr(made, name)))
    module.cudaError_t = _Status  # type: ignore[attr-defined]
    module.cudaMemcpyKind = _Kind  # type: ignore[attr-defined]
    module.cudaStreamCaptureMode = _Mode  # type: ignore[attr-defined]
    module.cudaStreamNonBlocking = 1  # type: ignore[attr-defined]
    module.cudaEventDisableTiming = 2  # type: ignore[attr-defined]
    return module


def _checked(
    card: SimulatedCard, name: str, arguments: list[str], function: Callable[..., Any]
) -> Callable[..., Any]:
    def call(*given: Any) -> Any:
        if len(given) != len(arguments):
            raise Violation(f'{name} takes {arguments} and gets {len(given)} arguments')
        if card.is_broken and name != 'cudaGetErrorString':
            return (_Status.cudaErrorIllegalAddress,)
        return function(*given)

    return call


class _RuntimeFunctions:
    """The functions by their names; each returns its status first."""

    def __init__(self, card: SimulatedCard) -> None:
        self._card = card
        self._marks: dict[int, Mark] = {}
        self._entered: set[int] = set()
        self._launched: set[int] = set()

    def cudaGetDeviceCount(self) -> Any:
        return _Status.cudaSuccess, 1

    def cudaGetDeviceProperties(self, device: int) -> Any:
        class Properties:
            name = self._card.name.encode() + b'\0'
            major, minor = self._card.capability

        assert device == 0
        return _Status.cudaSuccess, Properties()

    def cudaDriverGetVersion(self) -> Any:
        return _Status.cudaSuccess, self._card.driver

    def cudaRuntimeGetVersion(self) -> Any:
        return _Status.cudaSuccess, 12060

    def cudaSetDevice(self, device: int) -> Any:
        assert device == 0
        if threading.get_ident() not in self._entered:  # it stays set for the thread
            self._entered.add(threading.get_ident())
            self._card.enter()
        return (_Status.cudaSuccess,)

    def cudaMalloc(self, nbytes: int) -> Any:
        if nbytes > 1 << 40:
            return _Status.cudaErrorMemoryAllocation, None
        return _Status.cudaSuccess, self._card.allocate(nbytes)

    def cudaFree(self, address: int) -> Any:
        self._card.free(address)
        return (_Status.cudaSuccess,)

    def cudaMallocHost(self, nbytes: int) -> Any:
        return _Status.cudaSuccess, self._card.allocate_pinned(nbytes).ctypes.data

    def cudaFreeHost(self, address: int) -> Any:
        self._card.free_pinned(address)
        return (_Status.cudaSuccess,)

    def cudaStreamCreateWithFlags(self, flags: int) -> Any:
        assert flags == 1
        stream = _Handle(self._card.number())
        self._card.streams.add(stream)
        return _Status.cudaSuccess, stream

    def cudaStreamDestroy(self, stream: int) -> Any:
        self._card.streams.remove(stream)
        self._entered.discard(threading.get_ident())
        self._card.leave()
        return (_Status.cudaSuccess,)

    def cudaStreamSynchronize(self, stream: int) -> Any:
        self._own(stream)
        self._card.wait()
        return (_Status.cudaSuccess,)

    def cudaMemcpyAsync(
        self, target: int, source: int, count: int, kind: _Kind, stream: int
    ) -> Any:
        self._own(stream)
        card = self._card

        def work() -> None:
            inwards, outwards = kind == _Kind(1), kind == _Kind(2)
            there = card.pinned(source, count) if inwards else card.view(source, count)
            here = card.pinned(target, count) if outwards else card.view(target, count)
            card.copy(here, there)

        card.enqueue(work)
        return (_Status.cudaSuccess,)

    def cudaEventCreateWithFlags(self, flags: int) -> Any:
        assert flags == 2
        event = _Handle(self._card.number())
        self._marks[event] = Mark()
        self._card.marks.add(event)
        return _Status.cudaSuccess, event

    def cudaEventDestroy(self, event: int) -> Any:
        self._card.marks.remove(event)
        del self._marks[event]
        return (_Status.cudaSuccess,)

    def cudaEventRecord(self, event: int, stream: int) -> Any:
        self._own(stream)
        self._card.record(self._marks[event])
        return (_Status.cudaSuccess,)

    def cudaEventQuery(self, event: int) -> Any:
        reached = self._card.ask(self._marks[event])
        return (_Status.cudaSuccess if reached else _Status.cudaErrorNotReady,)

    def cudaStreamBeginCapture(self, stream: int, mode: _Mode) -> Any:
        self._own(stream)
        assert mode == _Mode.cudaStreamCaptureModeThreadLocal
        self._card.begin_capture()
        return (_Status.cudaSuccess,)

    def cudaStreamEndCapture(self, stream: int) -> Any:
        self._own(stream)
        return _Status.cudaSuccess, self._graph(self._card.end_capture())

    def cudaGraphInstantiate(self, graph: int, flags: int) -> Any:
        assert flags == 0
        return _Status.cudaSuccess, self._graph(self._card.graphs[graph])

    def cudaGraphLaunch(self, graph: int, stream: int) -> Any:
        self._own(stream)
        self._launched.add(graph)
        self._card.launch(self._card.graphs[graph])
        return (_Status.cudaSuccess,)

    def cudaGraphExecDestroy(self, graph: int) -> Any:
        if self._card.queue and graph in self._launched:
            raise Violation('a graph is given back while work is queued')
        del self._card.graphs[graph]
        return (_Status.cudaSuccess,)

    def cudaGraphDestroy(self, graph: int) -> Any:
        del self._card.graphs[graph]
        return (_Status.cudaSuccess,)

    def cudaGetErrorString(self, status: _Status) -> Any:
        return _Status.cudaSuccess, status.name.encode()

    def _graph(self, works: list[Callable[[], None]]) -> _Handle:
        graph = _Handle(self._card.number())
        self._card.graphs[graph] = works
        return graph

    def _own(self, stream: int) -> None:
        if stream not in self._card.streams:
            raise Violation("the work is not for the engine's own queue")


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
