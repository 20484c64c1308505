# SPDX-License-Identifier: Apache-2.0
"""Search around guesses, projected or coarse: exact near them, and everywhere without any."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.descriptor_maps import smooth_pair

from mast3r_ros.config import MatchingConfig, SearchRule
from mast3r_ros.core.match_filters import filter_matches
from mast3r_ros.core.matching import match_descriptors
from mast3r_ros.core.nearest import SimilaritySearch
from mast3r_ros.core.pixel_vectors import PixelVectors
from mast3r_ros.core.projected_guesses import ProjectedGuesses
from mast3r_ros.core.window_search import CoarseGuesses

ALL = MatchingConfig(border_px=0, search=SearchRule.GUIDED)
COARSE = ALL.replace(search=SearchRule.COARSE_TO_FINE)
EXACT = ALL.replace(search=SearchRule.EXACT)
NOWHERE = (np.nan, np.inf, -np.inf, -0.6, -1e30, 1e30)


@st.composite
def problems(draw):
    """Two small maps of small whole numbers, masks, and guesses good for nothing."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = rng.integers(1, 20, (2, 2))
    dim, high = draw(st.integers(1, 5)), draw(st.integers(2, 4))
    maps = [rng.integers(-high, high + 1, (*size, dim)).astype(np.float32) for size in sizes]
    share = draw(st.sampled_from([0.0, 0.3, 1.0]))
    masks = [None if share == 1.0 else rng.random(size) < share for size in sizes]
    return maps, masks, random_guesses(rng, sizes), rng


def random_guesses(rng, sizes):
    """Return guesses anywhere in the other view, and some that are no place in it."""
    ways = []
    for (height, width), target in zip(sizes, sizes[::-1], strict=True):
        places = rng.random((2, height * width)) * target[::-1, None] - 0.5
        lost = rng.random(places.shape) < 0.1
        places[lost] = rng.choice(NOWHERE, np.count_nonzero(lost))
        ways.append(places.astype(np.float32))
    return ProjectedGuesses(*ways)


def matched(maps, guesses, matching=ALL, masks=(None, None), confidence=(None, None)):
    options = {'mask_1': masks[0], 'mask_2': masks[1], 'guesses': guesses}
    return match_descriptors(*maps, *confidence, matching, **options)


def assert_same(found, expected):
    np.testing.assert_array_equal(found.idx_1, expected.idx_1)
    np.testing.assert_array_equal(found.idx_2, expected.idx_2)
    np.testing.assert_array_equal(found.pts2d_1, expected.pts2d_1)
    np.testing.assert_array_equal(found.pts2d_2, expected.pts2d_2)


def pairs_of(matches, rows=slice(None)):
    return set(zip(matches.idx_1[rows].tolist(), matches.idx_2[rows].tolist(), strict=True))


def best_in_window(maps, part, guess, radius_px, pixel):
    """Return by brute force the first best target of a pixel in its window."""
    vector = maps[0].reshape(-1, maps[0].shape[2])[pixel]
    height, width = maps[1].shape[:2]
    scores = np.where(part, maps[1] @ vector, -np.inf)
    inside = np.isfinite(guess).all() and np.all(guess > -0.5)
    if inside and np.all(guess < (width - 0.5, height - 0.5)):
        ranges = [
            slice(first := max(0, min(round(float(at)) - radius_px, length - side)), first + side)
            for at, length in ((guess[0], width), (guess[1], height))
            for side in [min(2 * radius_px + 1, length)]
        ]
        window = np.full(scores.shape, -np.inf)
        window[ranges[1], ranges[0]] = scores[ranges[1], ranges[0]]
        if window.max() > -np.inf:
            scores = window
    return int(scores.argmax())


# Around guesses


@settings(deadline=None, max_examples=100)
@given(problems(), st.integers(1, 5), st.sampled_from([0, 2]), st.booleans())
def test_a_window_as_large_as_the_view_is_exact_wherever_it_is_put(
    problem, step, pixel_tol, reciprocal
):
    maps, masks, guesses, _ = problem
    same = {'subsample': step, 'pixel_tol': pixel_tol, 'reciprocal': reciprocal}
    expected = matched(maps, None, EXACT.replace(**same), masks)
    for matching, known in ((ALL, guesses), (COARSE, None)):
        found = matched(maps, known, matching.replace(search_radius_px=20, **same), masks)
        assert_same(found, expected)
        np.testing.assert_array_equal(found.confidence, expected.confidence)


@settings(deadline=None, max_examples=100)
@given(problems(), st.integers(2, 4))
def test_both_pixels_of_a_match_are_the_best_in_the_other_s_window(problem, radius_px):
    maps, masks, guesses, _ = problem
    part = [
        np.ones(one.shape[:2], bool) if m is None else m
        for one, m in zip(maps, masks, strict=True)
    ]
    found = matched(maps, guesses, ALL.replace(subsample=2, search_radius_px=radius_px), masks)
    for first, second in zip(found.idx_1, found.idx_2, strict=True):
        there = best_in_window(maps, part[1], guesses.to_2[:, first], radius_px, first)
        back = best_in_window(maps[::-1], part[0], guesses.to_1[:, second], radius_px, second)
        assert (there, back) == (second, first)
    assert part[0].ravel()[found.idx_1].all()
    assert part[1].ravel()[found.idx_2].all()
    assert np.all(np.diff(found.idx_1) > 0)


@settings(deadline=None, max_examples=40)
@given(problems())
def test_the_order_of_the_channels_does_not_matter_around_guesses(problem):
    maps, masks, guesses, rng = problem
    order = rng.permutation(maps[0].shape[2])
    small = ALL.replace(subsample=2, search_radius_px=2)
    expected = matched(maps, guesses, small, masks)
    assert_same(matched([one[..., order] for one in maps], guesses, small, masks), expected)


def nearest_places(desc_1, desc_2):
    """Return as guesses where the exact search would arrive, for every pixel of both views."""
    views = [PixelVectors('one', desc_1), PixelVectors('two', desc_2)]
    ways = [
        SimilaritySearch(target).nearest(query, query.pixels)
        for query, target in (views, views[::-1])
    ]
    return [view.xy(way).T.astype(np.float32) for way, view in zip(ways, views[::-1], strict=True)]


@pytest.mark.parametrize('off_px', [0, 3])
@pytest.mark.parametrize('noise', [0.05, 0.4])
def test_guesses_that_are_right_give_the_exact_matches(noise, off_px):
    desc_1, desc_2 = smooth_pair(70, 90, noise=noise)
    rng = np.random.default_rng(0)
    ways = nearest_places(desc_1, desc_2)
    guesses = ProjectedGuesses(
        *[way + rng.integers(-off_px, off_px + 1, way.shape) for way in ways]
    )
    expected = matched((desc_1, desc_2), None, EXACT)
    assert len(expected) > 30
    assert_same(matched((desc_1, desc_2), guesses, ALL.replace(search_radius_px=4)), expected)


@pytest.mark.parametrize(('noise', 'share'), [(0.05, 0.98), (0.2, 0.98), (0.5, 0.65)])
def test_where_pixels_side_by_side_are_alike_few_are_enough_to_begin_with(noise, share):
    maps = smooth_pair(130, 150, noise=noise, seed=1)
    exact, coarse = matched(maps, None, EXACT), matched(maps, None, COARSE)
    assert len(exact) > 200
    assert len(pairs_of(exact) & pairs_of(coarse)) >= share * max(len(exact), len(coarse))


@pytest.mark.parametrize('radius_px', [2, 3, 8])
def test_a_coarse_search_finds_what_is_alone_between_its_pixels_and_near_one_alike(radius_px):
    """A smooth field without noise: the best of few is next to the best of all."""
    maps = smooth_pair(90, 100, noise=0.0)
    exact = matched(maps, None, EXACT)
    coarse = matched(maps, None, COARSE.replace(search_radius_px=radius_px))
    assert len(pairs_of(exact) & pairs_of(coarse)) >= 0.97 * len(exact)


def test_one_of_the_few_pixels_is_the_guess_of_itself():
    view = PixelVectors('one', smooth_pair(41, 50, noise=0.05)[0])
    y, x = np.mgrid[2:41:4, 2:50:4].reshape(2, -1)
    guess = CoarseGuesses(view, radius_px=8)(view, y * 50 + x)
    np.testing.assert_array_equal(guess, [x, y])


def test_a_mask_that_hides_all_few_pixels_leaves_the_exact_search():
    maps = smooth_pair(60, 70, noise=0.1)
    thin = np.zeros((60, 70), bool)
    thin[:, 3::4] = True
    exact, coarse = (
        matched(maps, None, one.replace(subsample=3), (thin, thin)) for one in (EXACT, COARSE)
    )
    assert len(exact) > 20
    assert_same(coarse, exact)


@pytest.mark.parametrize('matching', [ALL, COARSE])
@pytest.mark.parametrize('wrong', [np.nan, np.inf])
def test_pixels_that_are_not_finite_take_no_part_around_guesses_either(matching, wrong):
    maps = smooth_pair(60, 70, noise=0.1)
    guesses = ProjectedGuesses(*nearest_places(*maps)) if matching is ALL else None
    holes = [np.random.default_rng(number).random((60, 70)) < 0.2 for number in (1, 2)]
    expected = matched(maps, guesses, matching, [~one for one in holes])
    for one, hole in zip(maps, holes, strict=True):
        one[hole, 3:5] = wrong, -wrong
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert_same(matched(maps, guesses, matching), expected)


def test_guesses_that_lead_elsewhere_change_what_is_found():
    desc_1, desc_2 = smooth_pair(70, 90, noise=0.05)
    away = [np.full((2, 70 * 90), 30.0, np.float32)] * 2
    found = matched((desc_1, desc_2), ProjectedGuesses(*away), ALL.replace(search_radius_px=4))
    assert np.abs(found.pts2d_2 - 30).max(initial=0) <= 4


@pytest.mark.parametrize(
    'changes', [{'border_px': 6}, {'top_k': 9}, {'confidence_threshold': 0.5}]
)
def test_matches_are_filtered_as_the_exact_ones_are(changes):
    maps = smooth_pair(70, 90, noise=0.2)
    guesses = ProjectedGuesses(*nearest_places(*maps))
    confidence = tuple(np.random.default_rng(0).random((2, 70, 90)).astype(np.float32))
    everything = matched(maps, guesses, ALL, confidence=confidence)
    expected = filter_matches(everything, ALL.replace(**changes), (90, 70), (90, 70))
    found = matched(maps, guesses, ALL.replace(**changes), confidence=confidence)
    assert 0 < len(found) < len(everything)
    assert_same(found, expected)


def test_half_precision_and_any_order_in_memory_are_matched_as_they_are():
    maps = [one.astype(np.float16) for one in smooth_pair(60, 50, noise=0.2)]
    guesses = ProjectedGuesses(*nearest_places(*maps))
    expected = matched([one.astype(np.float32) for one in maps], guesses)
    assert_same(matched(maps, guesses), expected)
    assert_same(matched([one[::-1, ::-1].copy()[::-1, ::-1] for one in maps], guesses), expected)
