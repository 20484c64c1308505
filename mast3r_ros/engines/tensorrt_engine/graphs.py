# SPDX-License-Identifier: Apache-2.0
"""Rows of calls that are kept as graphs of CUDA, so that each is put into the queue as one."""

from __future__ import annotations

import abc
import logging
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaAccess, CudaError
from mast3r_ros.errors import EngineFailed

_log = logging.getLogger(__name__)

_KEPT = 8  # each takes a little memory of the card


class Work(abc.ABC):
    """A row of calls for the queue.

    :param name: in words.
    """

    name: str

    @property
    @abc.abstractmethod
    def key(self) -> Hashable:
        """Return what tells this row from others."""

    @property
    @abc.abstractmethod
    def places(self) -> tuple[int, ...]:
        """Return everything that a graph of it holds on to; where one differs, it is of no use."""

    @property
    @abc.abstractmethod
    def is_settled(self) -> bool:
        """Whether each part of it was queued before, call by call."""

    @abc.abstractmethod
    def queue(self, in_graph: bool) -> None:
        """Make the calls; it allocates nothing and waits for nothing."""

    @abc.abstractmethod
    def expect(self) -> None:
        """Note that a graph of it was queued."""


@dataclass(frozen=True)
class _Kept:
    graph: Any
    places: tuple[int, ...]


class Graphs:
    """Queues work: the first time call by call, the second time kept as a graph, then launched."""

    def __init__(self, cuda: CudaAccess) -> None:
        self._cuda = cuda
        self._kept: OrderedDict[Hashable, _Kept] = OrderedDict()
        self._captures = cuda.can_capture

    def run(self, work: Work) -> None:
        """Queue work, as a graph where that can be."""
        kept = self._kept.get(work.key)
        if kept is not None and kept.places != work.places:
            self._forget(work.key)
            kept = None
        if kept is None and self._captures and work.is_settled:
            kept = self._capture(work)
        if kept is None:
            work.queue(in_graph=False)
            return
        self._kept.move_to_end(work.key)
        self._cuda.launch(kept.graph)
        work.expect()

    def clear(self) -> None:
        """Give all graphs back; nothing may be queued."""
        while self._kept:
            self._cuda.free_graph(self._kept.popitem()[1].graph)

    def _capture(self, work: Work) -> _Kept | None:
        """Keep work as a graph; where that cannot be, say so once and never try again."""
        graph: Any = None
        while len(self._kept) >= _KEPT:
            self._forget(next(iter(self._kept)))
        try:
            self._cuda.begin_capture()
            try:
                work.queue(in_graph=True)
            finally:
                graph = self._cuda.end_capture()
        except (CudaError, EngineFailed) as error:
            _log.warning(
                '%s is queued call by call from now on, not as a graph: %s', work.name, error
            )
            self._captures = False
            if graph is not None:
                self._cuda.free_graph(graph)
            return None
        kept = self._kept[work.key] = _Kept(graph, work.places)
        return kept

    def _forget(self, key: Hashable) -> None:
        self._cuda.wait_for_all()
        self._cuda.free_graph(self._kept.pop(key).graph)
