# SPDX-License-Identifier: Apache-2.0
"""The users of one worker: where each one's items wait, and whose turn it is."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.mailbox import Mailbox

_log = logging.getLogger(__name__)

ItemT = TypeVar('ItemT')


@dataclass(eq=False)
class Desk(Generic[ItemT]):
    """One user of the worker: where its items wait and who handles them."""

    box: Mailbox[ItemT]
    handle: Callable[[EngineInterface, ItemT, float], None]
    on_error: Callable[[ItemT, Exception], None]

    def report(self, item: ItemT, error: Exception) -> None:
        """Hand an item back to its user with the reason; whatever the user does with it."""
        try:
            self.on_error(item, error)
        except Exception:
            _log.exception('reporting "%s" failed', error)


class Desks:
    """All users, served in turn; safe to use from several threads."""

    def __init__(self) -> None:
        self._desks: list[Desk[Any]] = []
        self._next = 0
        self._lock = threading.Lock()

    def add(self, desk: Desk[Any]) -> None:
        """Let a user in; its turn comes last."""
        with self._lock:
            self._desks.append(desk)

    def remove(self, box: Mailbox[Any]) -> None:
        """Let the user of a box go."""
        with self._lock:
            self._desks = [desk for desk in self._desks if desk.box is not box]

    def anything_waits(self) -> bool:
        """Whether any user has an item waiting."""
        with self._lock:
            return any(len(desk.box) for desk in self._desks)

    def take_next(self) -> tuple[Desk[Any], Any, float] | None:
        """Return the next user with an item, the item and how long it waited in milliseconds."""
        with self._lock:
            for step in range(len(self._desks)):
                place = (self._next + step) % len(self._desks)
                taken = self._desks[place].box.take()
                if taken is not None:
                    self._next = (place + 1) % len(self._desks)
                    return self._desks[place], *taken
        return None

    def refuse_all(self, error: Exception) -> None:
        """Hand everything that waits back to its user with the reason."""
        while (taken := self.take_next()) is not None:
            desk, item, _ = taken
            desk.report(item, error)
