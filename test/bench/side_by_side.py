# SPDX-License-Identifier: Apache-2.0
"""Two ways to do the same thing, timed in turn in one process, so that only their ratio counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Row:
    """One comparison; ``ratio`` is how many times faster ours is (the median over the rounds)."""

    group: str
    name: str
    ours_ms: float
    other: str  # what a user would pick instead
    other_ms: float
    ratio: float
    ratio_low: float  # smallest and largest ratio of any round
    ratio_high: float
    facts: dict[str, Any] = field(default_factory=dict)  # what else was measured: rates, errors
    goal: float | None = None  # the ratio to reach, where one is set
    goal_ms: float | None = None  # what ours is to stay within, where that is set
    goal_pairs_per_s: float | None = None  # of the fact pairs_per_s: ours alone, again and again
    best_ratio: float | None = None  # of the shortest times of either side
    at_most: float | None = None  # the best ratio if ours ran at the processor's peak, if known

    @property
    def misses(self) -> list[str]:
        """The goals that are not reached, in words."""
        found = []
        if self.goal is not None and self.ratio < self.goal:
            words = f'{self.ratio:.2f}x is less than the goal of {self.goal:g}x'
            if self.at_most is not None and self.at_most < self.goal:
                words += f'; products at the peak of this processor would make {self.at_most:.1f}x'
            found.append(words)
        if self.goal_ms is not None and self.ours_ms > self.goal_ms:
            found.append(f'{self.ours_ms:.2f} ms is more than the goal of {self.goal_ms:g} ms')
        rate = self.facts.get('pairs_per_s')
        if self.goal_pairs_per_s is not None and rate < self.goal_pairs_per_s:
            found.append(f'{rate:.1f} pairs/s is less than the goal of {self.goal_pairs_per_s:g}')
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {**asdict(self), 'misses': self.misses}


@dataclass(frozen=True)
class Missing:
    """A comparison that cannot be made here, and why."""

    group: str
    name: str
    reason: str

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)


def compare(
    group: str,
    name: str,
    ours: Callable[[], object],
    other: Callable[[], object],
    *,
    other_name: str,
    rounds: int = 7,
    goal: float | None = None,
    goal_pairs_per_s: float | None = None,
    facts: dict[str, Any] | None = None,
    is_warm: bool = False,
) -> Row:
    """Time both in turn, ours first in every other round, after one warm-up each.

    :param is_warm: both have run already.
    """
    if not is_warm:
        ours()
        other()
    ours_ms, other_ms = [], []
    for turn in range(rounds):
        jobs = [(ours, ours_ms), (other, other_ms)]
        for job, times in jobs if turn % 2 == 0 else reversed(jobs):
            times.append(_time_ms(job))
    ratios = [theirs / mine for mine, theirs in zip(ours_ms, other_ms, strict=True)]
    return Row(
        group,
        name,
        statistics.median(ours_ms),
        other_name,
        statistics.median(other_ms),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        facts or {},
        goal,
        goal_pairs_per_s=goal_pairs_per_s,
    )


def _time_ms(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return (time.perf_counter() - start) * 1e3
