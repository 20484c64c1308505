# SPDX-License-Identifier: Apache-2.0
"""Rate, age, drops and engine time of the last two minutes, second by second."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.viewer.parts import StatsPart

SECONDS = 120
"""How far back the plots reach."""

_RECENT_S = 3.0  # over which the figures in words are taken


@dataclass(frozen=True)
class Second:
    """What one second brought; NaN where nothing was answered."""

    answered: float
    dropped: float
    age_ms: float
    engine_ms: float


class History:
    """Collects statistics by the time of their arrival, in seconds of any steady clock."""

    def __init__(self) -> None:
        self._seconds: deque[tuple[int, Second]] = deque(maxlen=SECONDS)
        self._recent: deque[tuple[float, StatsPart]] = deque()
        self._now: int | None = None  # the second that is being filled
        self._filling: list[StatsPart] = []
        self._drops: int | None = None  # counted up to the last statistics
        self._dropped = 0

    def add(self, stats: StatsPart, now_s: float) -> None:
        """Take in one pair's statistics."""
        self.advance(now_s)
        self._filling.append(stats)
        self._recent.append((now_s, stats))
        drops = sum(stats.drops.values())
        if self._drops is not None and drops > self._drops:  # fewer: the node started anew
            self._dropped += drops - self._drops
        self._drops = drops

    def advance(self, now_s: float) -> None:
        """Finish the seconds that are over."""
        while self._recent and self._recent[0][0] < now_s - _RECENT_S:
            self._recent.popleft()
        second = math.floor(now_s)
        if self._now is None:
            self._now = second
        if second - self._now > SECONDS:
            self._seconds.clear()
            self._now = second
        while self._now < second:
            self._seconds.append((self._now, self._finished()))
            self._now += 1

    def rate_hz(self) -> float:
        """Return answered pairs a second, lately."""
        if len(self._recent) < 2:
            return 0.0
        span_s = self._recent[-1][0] - self._recent[0][0]
        return (len(self._recent) - 1) / span_s if span_s > 0 else 0.0

    def age_ms(self) -> float:
        """Return the median age of results when they were published, lately; NaN without any."""
        return _median([stats.age_ms for _, stats in self._recent])

    def plotted(self) -> tuple[NDArray[np.float64], ...]:
        """Return seconds before now, answered, dropped, age and engine time, all (N,)."""
        rows = [
            (start - (self._now or 0), item.answered, item.dropped, item.age_ms, item.engine_ms)
            for start, item in self._seconds
        ]
        table = np.array(rows, np.float64).reshape(-1, 5)
        return tuple(np.ascontiguousarray(column) for column in table.T)

    def _finished(self) -> Second:
        done, self._filling = self._filling, []
        dropped, self._dropped = self._dropped, 0
        ages = [stats.age_ms for stats in done]
        return Second(
            len(done), dropped, _median(ages), _median([stats.engine_ms for stats in done])
        )


def _median(values: list[float]) -> float:
    known = [value for value in values if math.isfinite(value)]
    return statistics.median(known) if known else math.nan
