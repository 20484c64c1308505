# SPDX-License-Identifier: Apache-2.0
"""Figures and limits of a comparison: known differences give known figures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mast3r_ros.core.results import InferenceResult, MatchResult
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import InvalidInput
from mast3r_ros.export.comparison import Figures, Limits, as_facts, compare, worst

HEIGHT, WIDTH = 20, 30


def answer(seed: int = 0) -> InferenceResult:
    """Return a made-up answer with all outputs."""
    rng = np.random.default_rng(seed)
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    grid = Grid(image, None, None, (1.0, 1.0), (0.0, 0.0))
    desc = rng.standard_normal((2, HEIGHT, WIDTH, 24)).astype(np.float32)
    desc /= np.linalg.norm(desc, axis=-1, keepdims=True)
    points = rng.uniform(1.0, 3.0, (2, HEIGHT, WIDTH, 3)).astype(np.float32)
    confidence = rng.uniform(1.0, 5.0, (4, HEIGHT, WIDTH)).astype(np.float32)
    return InferenceResult(grid, grid, *points, *confidence[:2], *desc, *confidence[2:])


def matches(*rows: tuple[float, float, float, float]) -> MatchResult:
    """Return matches by their ends x1 y1 x2 y2."""
    ends = np.array(rows, np.float32).reshape(-1, 4)
    index = np.arange(len(ends))
    return MatchResult(
        index, index, ends[:, :2], ends[:, 2:], np.ones(len(ends), np.float32), 'desc_conf'
    )


NONE = (matches(), matches())


def changed(**fields: Any) -> Figures:
    return compare(answer(), replace(answer(), **fields), NONE)


def test_equal_answers_differ_by_nothing() -> None:
    figures = compare(answer(), answer(), NONE)
    assert set(figures.errors.values()) == {0.0}
    assert figures.descriptor_cosine_p01 == pytest.approx(1.0, abs=1e-6)
    assert figures.point_error_p50 == 0.0
    assert Limits().broken_by(figures) == []


def test_an_error_is_the_norm_of_the_difference_over_the_norm() -> None:
    conf = answer().conf_1
    assert conf is not None
    assert changed(conf_1=conf * np.float32(1.25)).errors['conf_1'] == pytest.approx(0.25)


def test_the_point_error_is_relative_to_the_distance_of_each_point() -> None:
    one = answer()
    assert one.pts3d_1 is not None
    assert one.pts3d_2 is not None
    farther = np.float32(1.1)
    figures = changed(pts3d_1=one.pts3d_1 * farther, pts3d_2=one.pts3d_2 * farther)
    assert figures.point_error_p50 == pytest.approx(0.1, rel=1e-4)
    assert any('median point error' in text for text in Limits().broken_by(figures))
    assert Limits(point_error_p50=0.11).broken_by(figures) == []


def test_a_few_turned_descriptors_show_in_p01_and_not_in_p50() -> None:
    desc = answer().desc_2
    assert desc is not None
    turned = desc.copy()
    turned[0] = -turned[0]  # 30 of 1200 pixels
    figures = changed(desc_2=turned)
    assert figures.descriptor_cosine_p50 == pytest.approx(1.0, abs=1e-6)
    assert figures.descriptor_cosine_p01 == pytest.approx(-1.0, abs=1e-6)
    assert any('cosine' in text for text in Limits().broken_by(figures))


@pytest.mark.parametrize('value', [np.nan, np.inf])
@pytest.mark.parametrize('name', ['pts3d_1', 'conf_2', 'desc_1', 'desc_conf_2'])
def test_what_is_not_finite_fails_whatever_the_limits(name: str, value: float) -> None:
    bad = getattr(answer(), name).copy()
    bad[0, 0] = value
    with np.errstate(invalid='ignore'):
        figures = changed(**{name: bad})
    broken = Limits(-1.0, 1e9).broken_by(figures)
    assert f'{name} is not finite' in broken
    assert ('pts3d' in name) == any('median point error' in text for text in broken)
    assert json.loads(json.dumps(as_facts(figures), allow_nan=False))


def test_overlap_counts_the_matches_whose_both_ends_are_found_again() -> None:
    ours = matches((1, 1, 5, 5), (10, 10, 15, 15), (20, 5, 25, 5), (3, 18, 4, 18))
    theirs = matches((2, 1, 5, 4), (10, 10, 15, 18), (20, 5, 25, 5))
    figures = compare(answer(), answer(), (ours, theirs))
    assert figures.match_overlap == pytest.approx(0.5)
    assert any('overlap' in text for text in Limits(match_overlap=0.6).broken_by(figures))
    assert compare(answer(), answer(), (ours, matches())).match_overlap == 0.0


def test_a_network_without_descriptors_is_judged_by_its_points() -> None:
    nothing = dict.fromkeys(('desc_1', 'desc_2', 'desc_conf_1', 'desc_conf_2'))
    bare = replace(answer(), **nothing)
    figures = compare(bare, bare, NONE)
    assert figures.descriptor_cosine_p01 is None
    assert figures.match_overlap is None
    assert Limits(match_overlap=1.0).broken_by(figures) == []


def test_answers_of_different_networks_cannot_be_compared() -> None:
    with pytest.raises(InvalidInput, match='desc_1 is absent'):
        compare(answer(), replace(answer(), desc_1=None), NONE)


def test_of_several_pairs_the_worst_counts() -> None:
    first = Figures({'conf_1': 0.1}, 0.99, 0.9, 0.8, 0.01)
    second = Figures({'conf_1': 0.2}, 0.98, 0.95, 0.7, 0.005)
    assert worst([first, second]) == Figures({'conf_1': 0.2}, 0.98, 0.9, 0.7, 0.01)
    spoiled = replace(second, descriptor_cosine_p01=float('nan'))
    assert Limits(-1.0, 1.0).broken_by(worst([first, spoiled, first]))
