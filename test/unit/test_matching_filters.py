# SPDX-License-Identifier: Apache-2.0
"""Which matches are kept: border, threshold, and a spread choice of the confident ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_ros.config import MatchingConfig
from mast3r_ros.core.match_filters import filter_matches
from mast3r_ros.core.results import MatchResult

WIDTH, HEIGHT = 40, 30
EVERYTHING = MatchingConfig(border_px=0, confidence_threshold=0.0, top_k=0)


def matches_at(pixels_1, confidence, pixels_2=None, size_2=(WIDTH, HEIGHT)):
    idx_1 = np.asarray(pixels_1, np.int64)
    idx_2 = idx_1 if pixels_2 is None else np.asarray(pixels_2, np.int64)
    xy_1 = np.stack([idx_1 % WIDTH, idx_1 // WIDTH], axis=1).astype(np.float32)
    xy_2 = np.stack([idx_2 % size_2[0], idx_2 // size_2[0]], axis=1).astype(np.float32)
    return MatchResult(idx_1, idx_2, xy_1, xy_2, np.asarray(confidence, np.float32), 'desc_conf')


def kept(matches, size_2=(WIDTH, HEIGHT), **changes):
    return filter_matches(matches, EVERYTHING.replace(**changes), (WIDTH, HEIGHT), size_2)


@pytest.mark.parametrize('border_px', [0, 1, 3, 15])
def test_border_keeps_exactly_the_inner_rectangle(border_px):
    every_pixel = np.arange(WIDTH * HEIGHT)
    left = kept(matches_at(every_pixel, np.ones(len(every_pixel))), border_px=border_px)
    y, x = np.mgrid[border_px : HEIGHT - border_px, border_px : WIDTH - border_px]
    np.testing.assert_array_equal(left.idx_1, (y * WIDTH + x).ravel())


def test_border_holds_in_view_2_at_its_own_size():
    inner = 10 * WIDTH + 10
    size_2 = (20, 8)
    pixels_2 = [2 * 20 + 3, 3 * 20 + 2, 3 * 20 + 3, 4 * 20 + 16, 4 * 20 + 17, 5 * 20 + 5]
    left = kept(matches_at([inner] * 6, [1.0] * 6, pixels_2, size_2), size_2, border_px=3)
    np.testing.assert_array_equal(left.idx_2, [3 * 20 + 3, 4 * 20 + 16])


def test_threshold_keeps_what_reaches_it_and_drops_what_is_no_number():
    left = kept(matches_at(range(5), [0.5, 1.5, np.nan, 1.0, 0.99]), confidence_threshold=1.0)
    np.testing.assert_array_equal(left.idx_1, [1, 3])


def test_top_k_of_zero_or_more_than_there_are_keeps_all():
    matches = matches_at(range(50), np.linspace(1, 2, 50))
    assert len(kept(matches, top_k=0)) == len(kept(matches, top_k=50)) == 50
    assert len(kept(matches, top_k=10**6)) == 50


def test_top_k_spreads_over_view_1_though_one_corner_is_more_confident():
    every_pixel = np.arange(WIDTH * HEIGHT)
    y, x = np.divmod(every_pixel, WIDTH)
    confidence = np.where((x < 10) & (y < 10), 10.0, 1.0) + 1e-4 * every_pixel
    left = kept(matches_at(every_pixel, confidence), top_k=12)
    quarters = {(int(u) // 10, int(v) // 10) for u, v in left.pts2d_1}
    assert len(left) == 12
    assert len(quarters) == 12  # 40 x 30 pixels are 12 squares of 10 x 10


def test_top_k_takes_the_most_confident_of_each_part():
    left_half = [5 * WIDTH + 2, 5 * WIDTH + 3, 9 * WIDTH + 4]
    right_half = [5 * WIDTH + 35, 20 * WIDTH + 36]
    matches = matches_at(left_half + right_half, [1.0, 3.0, 2.0, 0.5, 0.9])
    np.testing.assert_array_equal(kept(matches, top_k=2).idx_1, [left_half[1], right_half[1]])


def test_equal_confidence_keeps_the_first_that_came():
    matches = matches_at(range(20), np.ones(20))
    np.testing.assert_array_equal(kept(matches, top_k=1).idx_1, [0])


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_top_k_keeps_that_many_in_their_order_and_the_best_of_all(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    count = data.draw(st.integers(0, 200))
    top_k = data.draw(st.integers(1, 220))
    pixels = np.sort(rng.choice(WIDTH * HEIGHT, count, replace=False))
    matches = matches_at(pixels, rng.permutation(count) + 1.0)
    left = kept(matches, top_k=top_k)
    assert len(left) == min(top_k, count)
    assert np.all(np.diff(left.idx_1) > 0)
    if count:
        assert left.confidence.max() == count


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**32 - 1), st.integers(1, 60))
def test_a_larger_choice_leaves_no_part_of_the_view_emptier(seed, top_k):
    """Parts are taken in turns: none has two more than another that still has some to give."""
    rng = np.random.default_rng(seed)
    pixels = np.sort(rng.choice(WIDTH * HEIGHT, 120, replace=False))
    matches = matches_at(pixels, rng.random(120))
    left = kept(matches, top_k=top_k)
    side = np.sqrt(WIDTH * HEIGHT / top_k)

    def parts(result):
        u, v = result.pts2d_1.astype(np.float64).T
        return (v // side).astype(int) * 1000 + (u // side).astype(int)

    offered, counts = np.unique(parts(matches), return_counts=True)
    given_ = np.array([(parts(left) == part).sum() for part in offered])
    can_give = given_ < counts
    if can_give.any():
        assert given_.max() <= given_[can_give].min() + 1


def test_filters_pass_every_field_on():
    matches = matches_at([100, 500, 900], [1.0, 2.0, 3.0], [101, 501, 901])
    left = kept(matches, confidence_threshold=2.0)
    np.testing.assert_array_equal(left.idx_2, [501, 901])
    np.testing.assert_array_equal(left.pts2d_1, matches.pts2d_1[1:])
    np.testing.assert_array_equal(left.pts2d_2, matches.pts2d_2[1:])
    np.testing.assert_array_equal(left.confidence, [2.0, 3.0])
    assert left.confidence_kind == 'desc_conf'
