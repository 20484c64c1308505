# SPDX-License-Identifier: Apache-2.0
"""Where pairs wait for the engine: one place where the newest wins, or a queue."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from mast3r_ros.errors import Mast3rError

ItemT = TypeVar('ItemT')


class MailboxFull(Mast3rError):
    """A queue that must keep everything has no room left."""


class Mailbox(Generic[ItemT]):
    """Hands items from any thread to the one that works on them.

    :param limit: places.
    :param keep_all: a full box raises :class:`MailboxFull`; otherwise its oldest item is
        displaced. Either is counted in ``drops``.
    :param on_put: called after each put, outside any lock.
    """

    def __init__(
        self, *, limit: int = 1, keep_all: bool = False, on_put: Callable[[], None] | None = None
    ) -> None:
        self.drops: Counter[str] = Counter()
        self._limit = limit
        self._keep_all = keep_all
        self._on_put = on_put
        self._items: deque[tuple[ItemT, float]] = deque()
        self._lock = threading.Lock()

    def put(self, item: ItemT) -> None:
        """Leave an item; never waits."""
        with self._lock:
            if len(self._items) >= self._limit:
                self._make_room()
            self._items.append((item, time.perf_counter()))
        if self._on_put is not None:
            self._on_put()

    def put_all(self, items: Iterable[ItemT]) -> None:
        """Leave several items, each that finds a place.

        :raises MailboxFull: some found none; each of those is counted.
        """
        full: MailboxFull | None = None
        for item in items:
            try:
                self.put(item)
            except MailboxFull as error:
                full = error
        if full is not None:
            raise full

    def take(self) -> tuple[ItemT, float] | None:
        """Return the oldest item and how long it waited in milliseconds, or None."""
        with self._lock:
            if not self._items:
                return None
            item, put_at = self._items.popleft()
        return item, (time.perf_counter() - put_at) * 1e3

    def clear(self, reason: str) -> list[ItemT]:
        """Throw everything away, count it under ``reason`` and return it."""
        with self._lock:
            items = [item for item, _ in self._items]
            self._items.clear()
            if items:
                self.drops[reason] += len(items)
        return items

    def __len__(self) -> int:
        return len(self._items)

    def _make_room(self) -> None:
        if self._keep_all:
            self.drops['overflow'] += 1
            raise MailboxFull(
                f'the queue holds {self._limit} pairs and the engine is slower than the input; '
                'slow the input down or raise the queue limit'
            )
        self._items.popleft()
        self.drops['superseded'] += 1
