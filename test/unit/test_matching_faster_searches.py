# SPDX-License-Identifier: Apache-2.0
"""The faster searches on whole answers: nearly all right matches, and no more wrong ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from oracle_engine import OracleEngine
from scene import Scene, Shot, placed, small_camera

from mast3r_ros.config import MatchingConfig, ModelConfig, PipelineConfig, SearchRule
from mast3r_ros.core.matching import match_pair
from mast3r_ros.core.pair_processor import PairProcessor
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import Product
from mast3r_ros.core.views import View

EXACT = MatchingConfig(border_px=0)
GUIDED = EXACT.replace(search=SearchRule.GUIDED)
COARSE = EXACT.replace(search=SearchRule.COARSE_TO_FINE)


@cache
def shots() -> tuple[Shot, Shot]:
    """Two views apart, turned, and of different sizes."""
    small = Scene().look(small_camera(300, 260), placed(0.3, 0.05, 0.1, 3.0))
    return Scene().look(small_camera(320, 240)), small


def oracle():
    return OracleEngine(ModelConfig(resolution=224)).register_shots(shots())


@cache
def answer():
    first, second = shots()
    return oracle().infer(first.image, second.image)


def right(result, matches):
    """Return which matches lie within 2 pixels of where the true points say."""
    uv_1 = result.grid_1.to_image(matches.pts2d_1)
    places = result.grid_2.to_grid(Scene().true_match(shots()[0], uv_1, shots()[1]))
    return np.linalg.norm(matches.pts2d_2 - places, axis=1) < 2.0


def pairs_of(matches, rows=slice(None)):
    return set(zip(matches.idx_1[rows].tolist(), matches.idx_2[rows].tolist(), strict=True))


def assert_same(found, expected):
    np.testing.assert_array_equal(found.idx_1, expected.idx_1)
    np.testing.assert_array_equal(found.idx_2, expected.idx_2)


@pytest.mark.parametrize('matching', [GUIDED, COARSE])
def test_nearly_all_right_matches_of_the_exact_search_are_found_and_no_more_wrong_ones(matching):
    result = answer()
    exact, faster = match_pair(result, EXACT), match_pair(result, matching)
    right_exact, right_faster = right(result, exact), right(result, faster)
    found = pairs_of(exact, right_exact) & pairs_of(faster)
    assert right_exact.sum() > 200
    assert len(found) >= 0.97 * right_exact.sum()
    assert right_faster.mean() >= right_exact.mean()
    assert faster.confidence_kind == exact.confidence_kind


@pytest.mark.parametrize('missing', ['pts3d_1', 'pts3d_2', 'both'])
def test_without_points_it_is_the_exact_search(missing):
    names = ['pts3d_1', 'pts3d_2'] if missing == 'both' else [missing]
    result = replace(answer(), **dict.fromkeys(names))
    assert_same(match_pair(result, GUIDED), match_pair(result, EXACT))


@pytest.mark.parametrize('value', [np.nan, np.inf, -1.0, 0.0])
def test_points_that_are_nowhere_leave_the_exact_search(value):
    result = answer()
    lost = replace(result, pts3d_2=np.full_like(result.pts3d_2, value))
    assert_same(match_pair(lost, GUIDED), match_pair(result, EXACT))


def test_points_that_do_not_fit_their_pixels_leave_the_exact_search():
    result = answer()
    shuffled = np.random.default_rng(0).permutation(result.pts3d_1.reshape(-1, 3))
    wrong = replace(result, pts3d_1=shuffled.reshape(result.pts3d_1.shape))
    assert_same(match_pair(wrong, GUIDED), match_pair(result, EXACT))


def test_masks_hold_around_guesses():
    result = answer()
    masks = [np.random.default_rng(number).random((8, 8)) < 0.5 for number in (1, 2)]
    masks = [
        np.kron(mask, np.ones((32, 32), bool))[: grid.height, : grid.width]
        for mask, grid in zip(masks, (result.grid_1, result.grid_2), strict=True)
    ]
    masked = replace(
        result,
        grid_1=replace(result.grid_1, mask=masks[0]),
        grid_2=replace(result.grid_2, mask=masks[1]),
    )
    found = match_pair(masked, GUIDED)
    assert len(found) > 50
    assert masks[0].ravel()[found.idx_1].all()
    assert masks[1].ravel()[found.idx_2].all()


def test_a_pipeline_searches_as_its_settings_say_where_both_clouds_are_wanted():
    pair = ViewPair(*(View(shot.image) for shot in shots()))
    counts = {}
    for matching in (EXACT, GUIDED, COARSE):
        processor = PairProcessor(PipelineConfig(matching=matching))
        for wanted in (Product.ALL, Product.MATCHES):
            found = processor.process(oracle(), pair, wanted).matches
            counts[matching.search, wanted] = len(found)
    for matching in (EXACT, GUIDED, COARSE):
        assert counts[matching.search, Product.ALL] == len(match_pair(answer(), matching))
    assert len(set(counts.values())) == 3
    exactly = counts[SearchRule.EXACT, Product.ALL]
    assert counts[SearchRule.GUIDED, Product.MATCHES] == exactly  # no points: nothing guides
