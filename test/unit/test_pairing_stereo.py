# SPDX-License-Identifier: Apache-2.0
"""Frames of two cameras are paired with the nearest in time, as soon as that is certain."""

from __future__ import annotations

import pytest
from support.numbered_frames import MS, Tick, both, feed, last_of

from mast3r_ros.core.pairing import StereoPairing


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
