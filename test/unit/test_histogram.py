# SPDX-License-Identifier: Apache-2.0
"""The histogram of times: every pair counted once, on axes from zero, nothing cut off."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_ros.viewer import histogram
from mast3r_ros.viewer.histogram import Times, bins, draw_histograms
from mast3r_ros.viewer.lettering import round_ticks, write

SPIKES = [40.0] * 3 + [80.0]
LEFT, RIGHT = histogram._LEFT, histogram._WIDTH - histogram._RIGHT
TOP, BOTTOM = histogram._TOP, histogram._HEIGHT - histogram._BOTTOM


def bars(picture: np.ndarray) -> np.ndarray:
    """Return (H, W): which pixels lie within a bar."""
    return (picture == np.array(histogram._BAR)).all(axis=-1)


def words_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    written: list[str] = []

    def noted(picture, text, *place):
        written.append(text)
        write(picture, text, *place)

    monkeypatch.setattr(histogram, 'write', noted)
    return written


@given(st.lists(st.floats(1e-3, 1e5), min_size=1, max_size=50))
def test_every_pair_is_counted_once_in_its_own_bin(values):
    counts, width = bins(values, round_ticks(0.0, max(values), 8)[-1])
    assert sum(counts) == len(values)
    for value in values:
        place = min(int(value / width), len(counts) - 1)
        assert counts[place] > 0
    assert len(counts) <= 200


def test_bars_stand_where_the_times_are():
    columns = np.flatnonzero(bars(draw_histograms([Times('all', SPIKES)])).any(axis=0))
    middle = LEFT + 0.5 * (RIGHT - LEFT)  # 40 on an axis from 0 to 80
    first, last = columns[columns < 600], columns[columns >= 600]
    assert first.min() >= middle - 1
    assert first.max() <= middle + 12
    assert last.min() >= RIGHT - 12
    assert last.max() <= RIGHT


def test_a_bar_is_as_high_as_its_count():
    inside = bars(draw_histograms([Times('all', SPIKES)]))
    many, one = inside[:, :600].any(axis=1).sum(), inside[:, 600:].any(axis=1).sum()
    assert many == pytest.approx(BOTTOM - TOP, abs=3)
    assert one == pytest.approx((BOTTOM - TOP) / 3, abs=3)


def test_both_axes_begin_at_zero(monkeypatch):
    written = words_of(monkeypatch)
    draw_histograms([Times('all', [93.0, 94.0, 95.0])])
    assert written.count('0') == 2


def test_median_and_slowest_hundredth_are_those_of_the_table(monkeypatch):
    from mast3r_ros.cli.benchmark import _summary

    values = np.random.default_rng(0).gamma(3.0, 10.0, 137).tolist()
    written = words_of(monkeypatch)
    draw_histograms([Times('geometric', values)])
    table = _summary(values)
    assert 'geometric: 137 pairs' in written
    assert f'median {table["median"]:.4g} ms' in written
    assert f'p99 {table["p99"]:.4g} ms' in written


def test_several_sizes_share_one_axis():
    pictures = draw_histograms([Times('slow', [80.0]), Times('fast', [40.0])])
    slow, fast = np.split(bars(pictures), 2)
    assert np.flatnonzero(slow.any(axis=0)).min() > RIGHT - 12
    assert np.flatnonzero(fast.any(axis=0)).max() < LEFT + 0.5 * (RIGHT - LEFT) + 12


@pytest.mark.parametrize('values', [[0.001], [1e6], [1.0] * 5000, [1e-6, 1e6], [3.0, 3.0]])
def test_nothing_is_cut_off_at_the_edge(values):
    title = 'an engine with a long name on a device with a longer one, precision, 4096x4096 ' * 2
    picture = draw_histograms([Times('short', values), Times(title, values)])
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == 255).all()
