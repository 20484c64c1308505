# SPDX-License-Identifier: Apache-2.0
"""Watches how long a call takes: it is cancelled when it is late, and given up if that fails."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_log = logging.getLogger(__name__)

_LOOK_S = 0.25  # between two looks at a call that runs


class Watchdog:
    """A thread that watches another one's calls.

    :param changed: what both wait on; it is notified of every change that counts.
    :param limit_s: a call that takes longer is cancelled.
    :param grace_s: time that it has to return then.
    :param is_over: whether there is nothing to watch any more; asked with ``changed`` held.
    :param cancel: cancels the running call.
    :param give_up: called with ``changed`` held when that was of no use, the last that is done;
        what it returns is called once ``changed`` is free.
    """

    def __init__(
        self,
        changed: threading.Condition,
        *,
        limit_s: float,
        grace_s: float,
        is_over: Callable[[], bool],
        cancel: Callable[[], None],
        give_up: Callable[[], Callable[[], None]],
    ) -> None:
        self.thread = threading.Thread(target=self._watch, name='engine-watchdog', daemon=True)
        self._changed = changed
        self._ending = threading.Lock()  # held to end a call or to cancel it, never for both
        self._limit_s = limit_s
        self._grace_s = grace_s
        self._is_over = is_over
        self._cancel = cancel
        self._give_up = give_up
        self._since: float | None = None  # when the running call began

    @property
    def is_busy(self) -> bool:
        """Whether a call runs."""
        return self._since is not None

    def begin(self) -> None:
        """Say that a call begins."""
        with self._changed:
            self._since = time.monotonic()
            self._changed.notify_all()

    @contextmanager
    def ending(self) -> Iterator[None]:
        """Say that the call has ended; inside, ``changed`` is held and nothing is cancelled."""
        with self._ending, self._changed:
            self._since = None
            yield

    def _watch(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self.is_busy or self._is_over())
                if self._is_over():
                    return
                since = self._since
                if self._returns_within(since, self._limit_s):
                    continue
            _log.error('an engine call takes over %g s; cancelling it', self._limit_s)
            with self._ending:
                if self._since == since:  # else it has returned
                    self._cancel()
            with self._changed:
                if self._returns_within(since, self._limit_s + self._grace_s):
                    continue
                report = self._give_up()
            report()
            return

    def _returns_within(self, since: float | None, limit_s: float) -> bool:
        """Wait, ``changed`` held, whether the call that began at ``since`` ends in time."""
        while since is not None and self._since == since:
            remaining_s = since + limit_s - time.monotonic()
            if remaining_s <= 0.0:
                return False
            self._changed.wait(min(remaining_s, _LOOK_S))
        return True
