# SPDX-License-Identifier: Apache-2.0
"""Repeated frames, jumps in time, pauses and silent cameras spoil no pair of frames after them."""

from __future__ import annotations

import pytest
from support.numbered_frames import MS, Tick, both, feed

from mast3r_ros.core.pairing import StereoPairing


def test_one_frame_out_of_time_costs_no_latency_for_ever() -> None:
    pairing = StereoPairing(0.01)
    feed(pairing, both(range(5), gap_ns=3 * MS))
    pairing.add('left', Tick(4 * 33 * MS + 1 * MS, 99))
    feed(pairing, both(range(5, 60), gap_ns=3 * MS))
    assert feed(pairing, both([60], gap_ns=3 * MS)) == [(60, 60)]


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
