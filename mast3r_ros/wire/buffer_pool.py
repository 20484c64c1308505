# SPDX-License-Identifier: Apache-2.0
"""Byte buffers of messages, used again once a message is out: touching fresh memory takes time."""

from __future__ import annotations

import array
import threading

KEPT_BUFFERS = 8
"""Free buffers that are kept; beyond it the oldest goes, so that changing sizes fill no memory."""


class BufferPool:
    """Hands out buffers and takes them back; safe to use from several threads.

    A buffer belongs to whoever took it until it is given back; one that never comes back is
    simply not used again. rclpy's publish has serialised a message when it returns.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._free: list[array.array[int]] = []  # the oldest first

    def take(self, size: int) -> array.array[int]:
        """Return a buffer of exactly that many bytes, whatever they hold."""
        with self._lock:
            for place in reversed(range(len(self._free))):
                if len(self._free[place]) == size:
                    return self._free.pop(place)
        return array.array('B', bytes(size))

    def give_back(self, buffer: array.array[int]) -> None:
        """Take a buffer back; nobody may look at it any more. A second time does nothing."""
        with self._lock:
            if any(free is buffer for free in self._free):
                return
            self._free.append(buffer)
            del self._free[:-KEPT_BUFFERS]
