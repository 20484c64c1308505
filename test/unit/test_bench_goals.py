# SPDX-License-Identifier: Apache-2.0
"""A row of `make bench` whose goal is missed says so, in its line and in the file."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from mast3r_ros.core.results import Output
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.work import pair_work

BENCH = Path(__file__).resolve().parents[1] / 'bench'


@pytest.fixture
def bench(monkeypatch):
    """The bench's own modules, which find each other beside them."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module('run')


def row(bench, **changes):
    ours = {'ours_ms': 8.0, 'ratio': 2.0, **changes}
    return bench.Row('a', 'b', other='c', other_ms=16.0, ratio_low=1.0, ratio_high=3.0, **ours)


@pytest.mark.parametrize('goals', [{}, {'goal': 2.0}, {'goal_ms': 8.0}])
def test_a_goal_that_is_reached_or_not_set_is_not_missed(bench, goals):
    reached = row(bench, **goals)
    assert reached.as_dict()['misses'] == []
    assert 'MISSED' not in bench.line(reached)


@pytest.mark.parametrize(
    ('goals', 'words'),
    [
        ({'goal': 2.5}, '2.00x is less than the goal of 2.5x'),
        ({'goal_ms': 7.5}, '8.00 ms is more than the goal of 7.5 ms'),
        (
            {'goal_pairs_per_s': 30.0, 'facts': {'pairs_per_s': 29.0}},
            '29.0 pairs/s is less than the goal of 30',
        ),
    ],
)
def test_a_goal_that_is_missed_is_said(bench, goals, words):
    missed = row(bench, **goals)
    assert missed.as_dict()['misses'] == [words]
    assert f'GOAL MISSED: {words}' in bench.line(missed)


@pytest.mark.parametrize(
    ('goals', 'words'),
    [
        ({'goal': 1.5}, '(goal 1.5x)'),
        ({'goal_ms': 9.0}, '(goal 9 ms)'),
        ({'goal_pairs_per_s': 30.0, 'facts': {'pairs_per_s': 31.0}}, '(goal 30 pairs/s)'),
    ],
)
def test_a_goal_is_said_beside_what_was_measured(bench, goals, words):
    line = bench.line(row(bench, **goals))
    assert words in line
    assert 'MISSED' not in line


def test_a_goal_above_the_peak_of_the_processor_says_so(bench):
    missed = row(bench, goal=6.0, at_most=4.2)
    words = 'products at the peak of this processor would make 4.2x'
    assert missed.misses == [f'2.00x is less than the goal of 6x; {words}']
    within = row(bench, goal=3.0, best_ratio=2.1, at_most=4.2)
    assert within.misses == ['2.00x is less than the goal of 3x']
    assert '(shortest times: 2.1x) (at most 4.2x at the peak' in bench.line(within)


def test_the_least_time_counts_what_is_asked_for_in_the_numbers_it_runs_in(bench):
    least_ms = importlib.import_module('ceiling').least_ms
    small = Architecture('mast3r', 16, 64, 1, 1, 64, 4, 1, 'dpt', 24)
    peaks = {'fp32': 1e9, 'bf16': 2e9, 'int8': 4e9}
    asked = {
        kind: least_ms(small, (64, 64), outputs, kind, peaks)
        for kind, outputs in (('fp32', Output.ALL), ('bf16', Output.ALL), ('int8', Output.DESC))
    }
    work = pair_work(small, (64, 64), (64, 64))
    assert asked['fp32'] == pytest.approx(sum(work.values()) / 1e6)
    assert asked['bf16'] == pytest.approx(asked['fp32'] / 2)
    assert asked['int8'] == pytest.approx((sum(work.values()) - work['points']) / 4e6)
    both = least_ms(small, (64, 64), Output.CLOUD_1 | Output.CLOUD_2, 'int8', peaks)
    one = least_ms(small, (64, 64), Output.CLOUD_1, 'int8', peaks)
    assert both - one == pytest.approx(work['points'] / 2 / 2e6)  # convolutions, in bfloat16


def test_what_the_node_adds_has_its_goals_in_milliseconds(bench):
    node = importlib.import_module('node')
    slow = node.np.full(9, 50.0)
    found = node._row('added', slow, 2 * slow, node.GOAL_MS)
    assert found.misses == ['50.00 ms is more than the goal of 10 ms']


def test_a_group_without_its_libraries_is_one_row_that_names_them(bench, monkeypatch):
    monkeypatch.setattr(importlib.import_module('stages'), 'NEEDS', ('numpy', 'no_such_library'))
    (missing,) = bench.rows_of('stages')
    assert bench.line(missing).split(None, 1) == [
        'stages',
        'not measured: needs no_such_library',
    ]
