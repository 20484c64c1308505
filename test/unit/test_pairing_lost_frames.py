# SPDX-License-Identifier: Apache-2.0
"""Whatever two cameras lose, each whole exposure is a pair and every other frame is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from support.numbered_frames import MS, Tick, feed, last_of

from mast3r_ros.core.pairing import StereoPairing

SHARP_START = 8  # frames that both cameras deliver before anything is dropped


@dataclass(frozen=True)
class Recording:
    """What two cameras delivered, in the order of arrival."""

    arrivals: list[tuple[str, Tick]]
    period_ns: int

    def numbers(self, side: str) -> set[int]:
        return {tick.number for source, tick in self.arrivals if source == side}


@st.composite
def recordings(draw: Any, drop_share: float = 0.25) -> Recording:
    """Two cameras of one rate: constant offset, jitter, latency, and frames lost at random."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    period_ns = draw(st.integers(5 * MS, 200 * MS))
    offset_ns = int(draw(st.floats(-0.15, 0.15)) * period_ns)
    jitter_ns = int(draw(st.floats(0.0, 0.03)) * period_ns)
    latency = {side: draw(st.floats(0.0, 3.0)) * period_ns for side in ('left', 'right')}
    lost = draw(st.floats(0.0, drop_share))
    arrivals = []
    for number in range(60):
        for side, shift in (('left', 0), ('right', offset_ns)):
            if number >= SHARP_START and rng.random() < lost:
                continue
            jitter = int(rng.integers(-jitter_ns, jitter_ns + 1))
            stamp = 10**15 + number * period_ns + shift + jitter
            arrivals.append((stamp + latency[side], side, Tick(stamp, number)))
    arrivals.sort(key=lambda arrival: arrival[:2])
    return Recording([(side, tick) for _, side, tick in arrivals], period_ns)


@given(recordings(), st.floats(0.3, 4.0))
def test_a_dropped_frame_costs_its_own_pair_and_no_other(
    recording: Recording, tolerance_periods: float
) -> None:
    pairing = StereoPairing(tolerance_periods * recording.period_ns / 1e9)
    pairs = feed(pairing, recording.arrivals)
    complete = sorted(recording.numbers('left') & recording.numbers('right'))
    assert all(left == right for left, right in pairs)
    assert [left for left, _ in pairs] == complete[: len(pairs)]
    assert len(complete) - len(pairs) <= 1  # the last may still wait for what could be nearer


@given(recordings(), st.floats(0.3, 4.0))
def test_at_the_end_every_complete_pair_has_been_given_out(
    recording: Recording, tolerance_periods: float
) -> None:
    pairing = StereoPairing(tolerance_periods * recording.period_ns / 1e9)
    pairs = [*feed(pairing, recording.arrivals), *last_of(pairing)]
    complete = sorted(recording.numbers('left') & recording.numbers('right'))
    assert pairs == [(number, number) for number in complete]
    assert len(recording.arrivals) == 2 * len(pairs) + sum(pairing.drops.values())
    assert set(pairing.drops) <= {'no_partner'}


@given(recordings(drop_share=0.6), st.floats(0.0, 4.0))
def test_every_frame_ends_in_a_pair_or_is_counted_as_dropped(
    recording: Recording, tolerance_periods: float
) -> None:
    pairing = StereoPairing(tolerance_periods * recording.period_ns / 1e9)
    pairs = feed(pairing, recording.arrivals)
    pairing.reset()
    assert len(recording.arrivals) == 2 * len(pairs) + sum(pairing.drops.values())


@given(recordings(drop_share=0.6), st.floats(0.0, 4.0))
def test_pairs_come_in_order_use_no_frame_twice_and_keep_the_tolerance(
    recording: Recording, tolerance_periods: float
) -> None:
    tolerance_s = tolerance_periods * recording.period_ns / 1e9
    pairing = StereoPairing(tolerance_s)
    pairs = [pair for side, tick in recording.arrivals for pair in pairing.add(side, tick)]
    for side in (0, 1):
        stamps = [pair[side].stamp_ns for pair in pairs]
        assert stamps == sorted(set(stamps))
    gaps = [abs(left.stamp_ns - right.stamp_ns) for left, right in pairs]
    assert max(gaps, default=0) <= round(tolerance_s * 1e9)


@given(recordings(drop_share=0.5), st.floats(0.0, 4.0))
def test_the_same_arrivals_give_the_same_pairs(
    recording: Recording, tolerance_periods: float
) -> None:
    tolerance_s = tolerance_periods * recording.period_ns / 1e9
    first, second = StereoPairing(tolerance_s), StereoPairing(tolerance_s)
    assert feed(first, recording.arrivals) == feed(second, recording.arrivals)
    assert first.drops == second.drops
