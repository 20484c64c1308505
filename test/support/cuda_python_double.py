# SPDX-License-Identifier: Apache-2.0
"""The module ``cuda.bindings.runtime`` on a simulated card: its functions by their names."""

from __future__ import annotations

import enum
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from installed_modules import installed_modules
from simulated_card import Mark, SimulatedCard, Violation

FACTS = Path(__file__).resolve().parents[1] / 'data' / 'tensorrt_api'


@contextmanager
def cuda_python(card: SimulatedCard) -> Iterator[ModuleType]:
    """Put the card behind the module ``cuda.bindings.runtime``."""
    runtime = _runtime(card)
    parents = [ModuleType('cuda'), ModuleType('cuda.bindings')]
    for parent in parents:
        parent.__path__ = []  # type: ignore[attr-defined]  # makes it a package
    parents[1].runtime = runtime  # type: ignore[attr-defined]
    with installed_modules([*parents, runtime], hidden=('pycuda', 'pycuda.driver')):
        yield runtime


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
    module.cudaEventRecordExternal = 1  # type: ignore[attr-defined]
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

    def cudaEventRecordWithFlags(self, event: int, stream: int, flags: int) -> Any:
        self._own(stream)
        assert flags == 1
        self._card.record_in_graph(self._marks[event])
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
