# SPDX-License-Identifier: Apache-2.0
"""The chart of `make bench`: bars as long as the ratios, from zero, each group on its own axis."""

from __future__ import annotations

import numpy as np
from bench import ratio_chart
from bench.ratio_chart import BARS_PX, draw_ratios

from mast3r_ros.viewer.lettering import write


def row(group: str, name: str, ratio: float, **more) -> dict:
    return {
        'group': group,
        'name': name,
        'other': 'something else',
        'ratio': ratio,
        'ratio_low': ratio,
        'ratio_high': ratio,
        'goal': None,
        **more,
    }


def report(*rows: dict) -> dict:
    return {'processor': 'a processor', 'cores': 2, 'rows': list(rows)}


def bar_lengths(picture: np.ndarray) -> list[int]:
    """Return the length in pixels of every bar from top to bottom."""
    inside = (picture == np.array(ratio_chart.BAR)).all(axis=-1)
    # The first rows of a bar: below, the range and its ends cross it.
    rows = np.flatnonzero(inside.any(axis=1) & ~np.roll(inside.any(axis=1), 1))
    return [int(np.ptp(np.flatnonzero(inside[first]))) + 1 for first in rows]


def near(lengths: list[int], *shares: float) -> bool:
    return np.allclose(lengths, [share * BARS_PX for share in shares], atol=3)


def words_of(monkeypatch) -> list[str]:
    written: list[str] = []

    def noted(picture, text, *place):
        written.append(text)
        write(picture, text, *place)

    monkeypatch.setattr(ratio_chart, 'write', noted)
    return written


def test_a_bar_is_as_long_as_its_ratio():
    picture = draw_ratios(report(row('a', 'x', 10.0), row('a', 'y', 5.0), row('a', 'z', 2.5)))
    assert near(bar_lengths(picture), 1.0, 0.5, 0.25)


def test_each_group_has_an_axis_of_its_own():
    picture = draw_ratios(report(row('a', 'x', 100.0), row('b', 'y', 2.0)))
    assert near(bar_lengths(picture), 1.0, 1.0)


def test_the_axis_reaches_the_fastest_round_and_the_goal():
    ranged = draw_ratios(report(row('a', 'x', 5.0, ratio_high=10.0)))
    with_goal = draw_ratios(report(row('a', 'x', 5.0, goal=20.0)))
    assert near(bar_lengths(ranged), 0.5)
    assert near(bar_lengths(with_goal), 0.25)


def test_names_figures_and_the_machine_are_written(monkeypatch):
    written = words_of(monkeypatch)
    draw_ratios(report(row('a', 'resize', 3.14159, ratio_low=2.0, ratio_high=4.0)))
    assert {'resize', 'against something else', 'a processor, 2 cores', 'A'} <= set(written)
    assert '3.14x  (2 to 4)' in written


def test_what_could_not_be_measured_has_no_bar_and_says_so(monkeypatch):
    written = words_of(monkeypatch)
    missing = {'group': 'a', 'name': 'with weights', 'reason': 'there are none'}
    assert bar_lengths(draw_ratios(report(missing))) == []
    assert 'not measured' in written


def test_nothing_is_cut_off_at_the_edge():
    long = row('group', 'a comparison of a very long name, ' * 4, 123456.0, ratio_high=987654.0)
    picture = draw_ratios(report(long, row('group', 'short', 0.001)))
    for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
        assert (edge == 255).all()
