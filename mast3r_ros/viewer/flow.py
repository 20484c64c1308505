# SPDX-License-Identifier: Apache-2.0
"""Pause and step: who may show something new, and when."""

from __future__ import annotations

import threading


class Flow:
    """Running, or paused with a number of steps left; any thread may ask and tell."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._paused = False
        self._steps = 0
        self._ended = False

    @property
    def paused(self) -> bool:
        """Whether the view stands still until it is told to step or to go on."""
        return self._paused

    def toggle(self) -> None:
        """Pause, or go on."""
        with self._changed:
            self._paused = not self._paused
            self._steps = 0
            self._changed.notify_all()

    def step(self) -> None:
        """Let one more pair through; a running view pauses after it."""
        with self._changed:
            self._paused = True
            self._steps += 1
            self._changed.notify_all()

    def end(self) -> None:
        """Let everybody who waits go, for good."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def take_turn(self) -> bool:
        """Return whether a new pair may be shown now; a step is used up by it."""
        with self._changed:
            return self._turn()

    def wait_for_turn(self, timeout_s: float | None = None) -> bool:
        """Wait until a new pair may be shown; False when the view ended or the time is up."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or self._may_go(), timeout_s)
            return not self._ended and self._turn()

    def _may_go(self) -> bool:
        return not self._paused or self._steps > 0

    def _turn(self) -> bool:
        if not self._may_go():
            return False
        if self._paused:
            self._steps -= 1
        return True
