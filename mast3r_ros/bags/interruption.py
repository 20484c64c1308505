# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C that never falls into the middle of a step that must be whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While it is entered, SIGINT and SIGTERM raise one KeyboardInterrupt, never in a whole step.

    Once is enough: impatience must not cut off what is done because of the first. Outside of the
    main thread, where signals cannot be caught, it does nothing.
    """

    def __init__(self) -> None:
        self._held = False
        self._raised = False
        self._asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def whole_step(self) -> Iterator[None]:
        """Let nothing interrupt what is inside; an interruption comes right after it."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._asked:
            self._interrupt()

    def ignore(self) -> None:
        """Interrupt nothing from here on: what follows has to be done."""
        self._held = True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        if self._held or self._raised:
            self._asked = True
        else:
            self._interrupt()

    def _interrupt(self) -> None:
        self._asked, self._raised = False, True
        raise KeyboardInterrupt
