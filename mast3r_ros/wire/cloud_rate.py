# SPDX-License-Identifier: Apache-2.0
"""The limit on the rate of clouds, by stamp, so that node and replay hand out the same ones."""

from __future__ import annotations

_SHARE_OF_PERIOD = 0.999  # cameras jitter: a hair early is still in time


class CloudRate:
    """Decides which results' clouds go out."""

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def is_due(self, stamp_ns: int, limit_hz: float) -> bool:
        """Whether the cloud of that stamp goes out; asked once for each result, in order.

        :param limit_hz: at most so many a second; 0 has no limit.
        """
        if self._last_ns is not None and limit_hz > 0.0:
            since_ns = stamp_ns - self._last_ns
            if 0 <= since_ns < _SHARE_OF_PERIOD * 1e9 / limit_hz:
                return False
        self._last_ns = stamp_ns
        return True
