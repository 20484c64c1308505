# SPDX-License-Identifier: Apache-2.0
"""A frame of one camera is paired with the one a stride before; those of no pair are counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.numbered_frames import MS, Tick, feed, last_of

from mast3r_ros.core.pairing import SequencePairing


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
