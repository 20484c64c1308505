# SPDX-License-Identifier: Apache-2.0
"""Frames that know which exposure they are, and the numbers of the pairs made of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mast3r_ros.core.pairing import Pairing
from mast3r_ros.core.views import View

MS = 1_000_000


@dataclass(frozen=True)
class Tick:
    """A frame that knows which exposure it is, for the test to compare."""

    stamp_ns: int
    number: int = 0

    def view(self) -> View:
        raise AssertionError('pairing must not look into a frame')


def feed(pairing: Pairing, arrivals: Iterable[tuple[str, Tick]]) -> list[tuple[int, int]]:
    """Return the numbers of the frames of each pair."""
    pairs = [pair for side, tick in arrivals for pair in pairing.add(side, tick)]
    return [(first.number, second.number) for first, second in pairs]


def last_of(pairing: Pairing) -> list[tuple[int, int]]:
    """Return the numbers of the frames of each pair that only the end completes."""
    return [(first.number, second.number) for first, second in pairing.finish()]


def both(
    numbers: Iterable[int], period_ns: int = 33 * MS, gap_ns: int = 0
) -> Iterator[tuple[str, Tick]]:
    """Yield both cameras' frames of some exposures, left first."""
    for number in numbers:
        yield 'left', Tick(number * period_ns, number)
        yield 'right', Tick(number * period_ns + gap_ns, number)
