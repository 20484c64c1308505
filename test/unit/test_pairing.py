# SPDX-License-Identifier: Apache-2.0
"""Frames are paired with their own partners, whatever is dropped, late or repeated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_ros.config import PairingConfig
from mast3r_ros.core.pairing import (
    Pairing,
    SequencePairing,
    StereoPairing,
    make_pairing,
)
from mast3r_ros.core.views import View
from mast3r_ros.errors import ConfigError, InvalidInput

MS = 1_000_000
SHARP_START = 8  # frames that both cameras deliver before anything is dropped


@dataclass(frozen=True)
class Tick:
    """A frame that knows which exposure it is, for the test to compare."""

    stamp_ns: int
    number: int = 0

    def view(self) -> View:
        raise AssertionError('pairing must not look into a frame')


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


def feed(pairing: Pairing, arrivals: Iterable[tuple[str, Tick]]) -> list[tuple[int, int]]:
    """Return the numbers of the frames of each pair."""
    pairs = [pair for side, tick in arrivals for pair in pairing.add(side, tick)]
    return [(first.number, second.number) for first, second in pairs]


def last_of(pairing: Pairing) -> list[tuple[int, int]]:
    """Return the numbers of the frames of each pair that only the end completes."""
    return [(first.number, second.number) for first, second in pairing.finish()]


def both(numbers: Iterable[int], period_ns: int = 33 * MS, gap_ns: int = 0):
    """Yield both cameras' frames of some exposures, left first."""
    for number in numbers:
        yield 'left', Tick(number * period_ns, number)
        yield 'right', Tick(number * period_ns + gap_ns, number)


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


@pytest.mark.parametrize('gap_ms', [-9, -2, 0, 2, 9])
def test_a_pair_is_given_out_the_moment_its_second_frame_arrives(gap_ms: int) -> None:
    pairing = StereoPairing(0.01)
    arrivals = sorted(both(range(10), gap_ns=gap_ms * MS), key=lambda item: item[1].stamp_ns)
    given_at = {}
    for index, (side, tick) in enumerate(arrivals):
        for left, _ in pairing.add(side, tick):
            given_at[left.number] = index
    assert list(given_at) == list(range(10))
    for number in range(1, 10):
        arrived = [i for i, (_, tick) in enumerate(arrivals) if tick.number == number]
        assert given_at[number] == max(arrived)


def test_equal_stamps_are_paired_at_once_even_the_first() -> None:
    assert feed(StereoPairing(0.01), both(range(1))) == [(0, 0)]


def test_a_single_exposure_is_a_pair_once_it_is_the_last() -> None:
    pairing = StereoPairing(0.01)
    assert feed(pairing, both(range(1), gap_ns=2 * MS)) == []  # a nearer frame could come
    assert last_of(pairing) == [(0, 0)]
    assert last_of(pairing) == []
    assert not pairing.drops


def test_the_last_exposure_is_a_pair_even_after_a_short_period() -> None:
    pairing = StereoPairing(0.01)
    stamps_ns = [0, 33 * MS, 66 * MS, 70 * MS, 103 * MS, 136 * MS]
    for number, stamp_ns in enumerate(stamps_ns):
        pairing.add('left', Tick(stamp_ns, number))
        pairing.add('right', Tick(stamp_ns + 5 * MS, number))
    assert last_of(pairing) == [(5, 5)]


def test_at_the_end_too_a_gap_beyond_the_tolerance_makes_no_pair() -> None:
    pairing = StereoPairing(0.01)
    assert feed(pairing, both(range(1), gap_ns=11 * MS)) == last_of(pairing) == []
    assert pairing.drops == {'no_partner': 2}
    assert pairing.closest_miss_ns == 11 * MS


def test_one_frame_out_of_time_costs_no_latency_for_ever() -> None:
    pairing = StereoPairing(0.01)
    feed(pairing, both(range(5), gap_ns=3 * MS))
    pairing.add('left', Tick(4 * 33 * MS + 1 * MS, 99))
    feed(pairing, both(range(5, 60), gap_ns=3 * MS))
    assert feed(pairing, both([60], gap_ns=3 * MS)) == [(60, 60)]


def test_tolerance_zero_pairs_equal_stamps_only() -> None:
    pairing = StereoPairing(0.0)
    arrivals = [*both(range(5)), *both([5], gap_ns=1), *both([6])]
    assert [left for left, _ in feed(pairing, arrivals)] == [0, 1, 2, 3, 4, 6]
    assert pairing.drops == {'no_partner': 2}


def test_a_gap_beyond_the_tolerance_makes_no_pair() -> None:
    pairing = StereoPairing(0.01)
    assert feed(pairing, both(range(20), gap_ns=11 * MS)) == []
    pairing.reset()
    assert sum(pairing.drops.values()) == 40


def test_a_tolerance_is_inclusive() -> None:
    pairing = StereoPairing(0.01)
    pairs = feed(pairing, both(range(20), gap_ns=10 * MS))
    assert [left for left, _ in pairs] == list(range(len(pairs)))
    assert len(pairs) >= 19


def test_the_nearest_partner_wins_not_the_first() -> None:
    pairing = StereoPairing(0.02)
    arrivals = [
        ('left', Tick(100 * MS, 1)),
        ('right', Tick(85 * MS, 0)),
        ('right', Tick(101 * MS, 1)),
        ('left', Tick(200 * MS, 2)),
        ('right', Tick(201 * MS, 2)),
    ]
    assert feed(pairing, arrivals)[0] == (1, 1)
    assert pairing.drops['no_partner'] == 1


def test_a_frame_waits_for_a_nearer_partner_that_comes_later() -> None:
    pairing = StereoPairing(0.02)
    arrivals = [
        ('left', Tick(100 * MS, 0)),
        ('right', Tick(106 * MS, 1)),
        ('left', Tick(110 * MS, 1)),
        ('right', Tick(206 * MS, 2)),
    ]
    assert feed(pairing, arrivals) == [(1, 1)]
    assert pairing.drops == {'no_partner': 1}


def test_cameras_of_different_rates_pair_where_they_meet() -> None:
    pairing = StereoPairing(0.005)
    left = [('left', Tick(number * 100 * MS, number)) for number in range(20)]
    right = [('right', Tick(number * 25 * MS, number)) for number in range(80)]
    arrivals = sorted([*left, *right], key=lambda item: (item[1].stamp_ns, item[0]))
    assert feed(pairing, arrivals) == [(number, 4 * number) for number in range(20)]


def test_a_repeated_frame_is_counted_and_changes_nothing() -> None:
    pairing = StereoPairing(0.01)
    arrivals = [item for item in both(range(5)) for _ in range(2)]
    assert feed(pairing, arrivals) == [(number, number) for number in range(5)]
    assert pairing.drops == {'duplicate_stamp': 10}


def test_a_jump_back_in_time_starts_afresh() -> None:
    pairing = StereoPairing(0.01)
    before = feed(pairing, both(range(100, 110), gap_ns=MS))
    pairing.add('left', Tick(110 * 33 * MS, 110))
    after = feed(pairing, both(range(10), gap_ns=MS))
    assert len(before) == 10
    assert after == [(number, number) for number in range(10)]
    assert pairing.resets == 1
    assert pairing.drops == {'time_jump': 1}


def test_a_looping_recording_pairs_every_round_alike() -> None:
    pairing = StereoPairing(0.01)
    rounds = [feed(pairing, both(range(20), gap_ns=2 * MS)) for _ in range(4)]
    assert all(pairs == rounds[0] for pairs in rounds)
    assert len(rounds[0]) == 20
    assert pairing.resets == 3


def test_a_long_pause_costs_nothing() -> None:
    pairing = StereoPairing(0.01)
    numbers = [*range(5), *range(10_000, 10_005)]
    pairs = feed(pairing, both(numbers, gap_ns=2 * MS))
    assert [left for left, _ in pairs] == numbers


@pytest.mark.parametrize('limit', [2, 16])
def test_a_lone_camera_waits_in_a_bounded_queue(limit: int) -> None:
    pairing = StereoPairing(0.01, limit)
    for number in range(100):
        assert pairing.add('left', Tick(number * 33 * MS, number)) == []
    assert pairing.drops == {'no_partner': 100 - limit}


def test_a_camera_that_comes_back_is_paired_again() -> None:
    pairing = StereoPairing(0.01)
    feed(pairing, both(range(5), gap_ns=2 * MS))
    for number in range(5, 50):
        pairing.add('left', Tick(number * 33 * MS, number))
    assert feed(pairing, both(range(50, 55), gap_ns=2 * MS)) == [(n, n) for n in range(50, 55)]


def test_a_reset_counts_what_waited_under_its_reason() -> None:
    pairing = StereoPairing(0.01)
    pairing.add('left', Tick(0))
    pairing.reset('deactivated')
    assert pairing.drops == {'deactivated': 1}
    assert pairing.resets == 1


@pytest.mark.parametrize('pairing', [StereoPairing(), SequencePairing()])
def test_an_unknown_source_is_named_with_the_known(pairing: Pairing) -> None:
    with pytest.raises(InvalidInput, match=r"'top'.*known are " + pairing.sources[0]):
        pairing.add('top', Tick(0))


@pytest.mark.parametrize('stride', [1, 2, 5])
def test_a_sequence_pairs_the_newer_frame_with_the_one_stride_before(stride: int) -> None:
    pairing = SequencePairing(stride)
    arrivals = [('image', Tick(number * MS, number)) for number in range(12)]
    assert feed(pairing, arrivals) == [(n, n - stride) for n in range(stride, 12)]
    assert not pairing.drops


def test_a_sequence_counts_repeated_frames() -> None:
    pairing = SequencePairing()
    arrivals = [('image', Tick(number * MS, number)) for number in (0, 1, 1, 1, 2)]
    assert feed(pairing, arrivals) == [(1, 0), (2, 1)]
    assert pairing.drops == {'duplicate_stamp': 2}


def test_a_sequence_that_jumps_back_in_time_pairs_no_frames_across_the_jump() -> None:
    pairing = SequencePairing(2)
    numbers = [10, 11, 12, 13, 0, 1, 2, 3]
    arrivals = [('image', Tick(number * MS, number)) for number in numbers]
    assert feed(pairing, arrivals) == [(12, 10), (13, 11), (2, 0), (3, 1)]
    assert pairing.resets == 1


@given(st.integers(1, 5), st.lists(st.integers(1, 12), min_size=1, max_size=4))
def test_every_frame_of_a_sequence_is_in_a_pair_or_counted(stride: int, rounds: list[int]) -> None:
    pairing = SequencePairing(stride)
    used, total = 0, 0
    for length in rounds:
        arrivals = [('image', Tick(number * MS, number)) for number in range(length)]
        used += len({number for pair in feed(pairing, arrivals) for number in pair})
        total += length
        pairing.reset()
    assert used + sum(pairing.drops.values()) == total


@pytest.mark.parametrize(('frames', 'unpaired'), [(0, 0), (1, 1), (2, 2), (3, 1), (4, 0), (9, 0)])
def test_a_sequence_that_is_over_counts_the_frames_of_no_pair(frames: int, unpaired: int) -> None:
    pairing = SequencePairing(2)
    feed(pairing, [('image', Tick(number * MS, number)) for number in range(frames)])
    assert last_of(pairing) == []
    assert pairing.drops == ({'no_partner': unpaired} if unpaired else {})
    assert pairing.resets == 0


def test_settings_choose_the_pairing() -> None:
    sequence = make_pairing(PairingConfig(mode='sequence', stride=3))
    stereo = make_pairing(PairingConfig(tolerance_s=0.05))
    assert isinstance(sequence, SequencePairing)
    assert isinstance(stereo, StereoPairing)
    assert len(feed(sequence, [('image', Tick(number)) for number in range(10)])) == 7
    assert len(feed(stereo, both(range(10), gap_ns=10 * MS))) == 10


@pytest.mark.parametrize('sync', ['exact', 'approximate'])
def test_a_pairing_that_only_the_node_can_do_is_refused_without_it(sync: str) -> None:
    with pytest.raises(ConfigError, match=f'pairing.sync is {sync}, .* set it to nearest'):
        make_pairing(PairingConfig(sync=sync))
    assert isinstance(make_pairing(PairingConfig(mode='sequence', sync=sync)), SequencePairing)
