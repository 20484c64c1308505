# SPDX-License-Identifier: Apache-2.0
"""Round numbers beside an axis: they enclose the values, evenly, and can be told apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_ros.viewer.lettering import number_text, round_ticks, round_up

VALUES = st.floats(-1e9, 1e9, allow_nan=False)


@given(VALUES, VALUES, st.integers(1, 10))
def test_ticks_enclose_the_values_and_are_few(one, other, most):
    low, high = min(one, other), max(one, other)
    ticks = round_ticks(low, high, most)
    slack = 1e-6 * max(abs(low), abs(high), 1e-6)
    assert ticks[0] <= low + slack
    assert ticks[-1] >= high - slack
    assert 2 <= len(ticks) <= most + 3


@given(st.floats(1e-3, 1e6), st.integers(2, 10))
def test_ticks_are_even_and_every_one_reads_differently(high, most):
    ticks = round_ticks(0.0, high, most)
    assert ticks[0] == 0.0
    assert np.allclose(np.diff(ticks), ticks[1])
    assert len({number_text(tick, ticks) for tick in ticks}) == len(ticks)


@pytest.mark.parametrize(
    ('value', 'round_value'), [(1.0, 1.0), (1.01, 2.0), (3.0, 5.0), (7.0, 10.0), (0.03, 0.05)]
)
def test_round_numbers_are_one_two_or_five_times_a_power_of_ten(value, round_value):
    assert round_up(value) == pytest.approx(round_value)


def test_numbers_have_as_many_digits_as_the_steps_need():
    assert number_text(0.3, [0.0, 0.1]) == '0.3'
    assert number_text(12.0, [0.0, 2.0]) == '12'
    assert number_text(0.0005, [0.0, 0.0005]) == '0.0005'
