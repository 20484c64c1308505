# SPDX-License-Identifier: Apache-2.0
"""What is no answer of an engine, and what is one although it knows nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mast3r_ros.core.result_checks import check_result
from mast3r_ros.core.results import InferenceResult, Output
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import EngineFailed

ONE = Grid(np.zeros((6, 8, 3), np.uint8))
TWO = Grid(np.zeros((5, 7, 3), np.uint8))


def full(value, *shape):
    return np.full(shape, value, np.float32)


GOOD = InferenceResult(
    ONE,
    TWO,
    pts3d_1=full(1.0, 6, 8, 3),
    pts3d_2=full(1.0, 5, 7, 3),
    conf_1=full(2.0, 6, 8),
    conf_2=full(2.0, 5, 7),
    desc_1=full(0.5, 6, 8, 24),
    desc_2=full(0.5, 5, 7, 24),
    desc_conf_1=full(1.0, 6, 8),
    desc_conf_2=full(1.0, 5, 7),
    warp_1_2=full(3.0, 6, 8, 2),
    warp_2_1=full(3.0, 5, 7, 2),
    warp_conf_1=full(1.0, 6, 8),
)
NAN = float('nan')


def test_a_whole_answer_passes():
    check_result(GOOD, Output.ALL)


def test_only_what_was_asked_for_need_be_there():
    check_result(InferenceResult(ONE, TWO, pts3d_1=GOOD.pts3d_1), Output.CLOUD_1)
    check_result(InferenceResult(ONE, TWO), Output(0))


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'pts3d_1': None}, 'no pts3d_1'),
        ({'desc_2': None}, 'no desc_2'),
        ({'warp_1_2': None}, 'no warp_1_2'),
        ({'pts3d_1': full(1.0, 8, 6, 3)}, r'\(8, 6, 3\).*\(6, 8, 3\)'),
        ({'pts3d_2': full(1.0, 6, 8, 3)}, r'pts3d_2.*\(5, 7, 3\)'),
        ({'pts3d_1': full(1.0, 6, 8, 4)}, r'\(6, 8, 4\)'),
        ({'pts3d_1': full(1.0, 6, 8)}, r'\(6, 8\)'),
        ({'pts3d_1': np.ones((6, 8, 3))}, 'float64'),
        ({'conf_2': full(1.0, 5, 7, 1)}, r'conf_2.*\(5, 7, 1\)'),
        ({'desc_1': full(1.0, 6, 8)}, 'desc_1'),
        ({'desc_1': full(1.0, 3, 4, 24)}, r'\(3, 4, 24\)'),
        ({'pts3d_1': full(NAN, 6, 8, 3)}, 'pts3d_1 without a single finite'),
        ({'pts3d_1': full(NAN, 6, 8, 3), 'conf_1': full(NAN, 6, 8)}, 'without a single finite'),
        ({'pts3d_2': full(np.inf, 5, 7, 3)}, 'pts3d_2 without a single finite'),
        ({'desc_2': full(NAN, 5, 7, 24)}, 'desc_2 without a single finite'),
        ({'warp_1_2': full(NAN, 6, 8, 2)}, 'warp_1_2 without a single finite'),
        ({'warp_1_2': full(NAN, 6, 8, 2), 'warp_conf_1': None}, 'without a single finite'),
    ],
)
def test_nonsense_is_a_failure_of_the_engine_said_in_words(changes, words):
    with pytest.raises(EngineFailed, match=words):
        check_result(replace(GOOD, **changes), Output.ALL)


@pytest.mark.parametrize(
    'changes',
    [
        {'pts3d_1': full(NAN, 6, 8, 3), 'notes': ('there is no light',)},
        {'pts3d_1': full(NAN, 6, 8, 3), 'conf_1': full(1.0, 6, 8)},
        {'warp_1_2': full(NAN, 6, 8, 2), 'warp_conf_1': full(0.0, 6, 8)},
        {'conf_1': None, 'conf_2': None, 'desc_conf_1': None, 'warp_2_1': None},
    ],
)
def test_an_answer_that_knows_nothing_and_says_so_is_one(changes):
    check_result(replace(GOOD, **changes), Output.ALL)


def test_single_missing_points_are_no_failure():
    points = full(NAN, 6, 8, 3)
    points[3, 4] = 1.0
    check_result(replace(GOOD, pts3d_1=points), Output.ALL)
