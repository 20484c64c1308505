# SPDX-License-Identifier: Apache-2.0
"""Matches of a whole pair: from descriptors, from a warp, or from two clouds alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.descriptor_maps import random_map, smooth_pair

from mast3r_ros.config import MatchingConfig
from mast3r_ros.core.matching import fast_reciprocal_matches, match_descriptors, match_pair
from mast3r_ros.core.nearest import DistanceSearch
from mast3r_ros.core.pixel_vectors import PixelVectors
from mast3r_ros.core.results import InferenceResult
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import InvalidInput

ALL = MatchingConfig(border_px=0, subsample=4)


def grid(height, width, mask=None):
    return Grid(np.zeros((height, width, 3), np.uint8), mask)


def pair(size_1, size_2, **fields):
    return InferenceResult(grid(*size_1), grid(*size_2), **fields)


def assert_consistent(matches, size_1, size_2):
    """Hold the fields of whole-pixel matches against each other."""
    for idx, xy, (_, width) in (
        (matches.idx_1, matches.pts2d_1, size_1),
        (matches.idx_2, matches.pts2d_2, size_2),
    ):
        assert idx.dtype == np.int64
        assert xy.dtype == np.float32
        np.testing.assert_array_equal(np.rint(xy[:, 1]) * width + np.rint(xy[:, 0]), idx)
    assert matches.confidence.dtype == np.float32
    assert matches.confidence.shape == (len(matches),)


# Descriptors


def test_descriptor_matches_are_those_of_the_published_algorithm():
    desc_1, desc_2 = smooth_pair(64, 80, noise=0.1)
    matches = match_pair(pair((64, 80), (64, 80), desc_1=desc_1, desc_2=desc_2), ALL)
    xy_1, xy_2 = fast_reciprocal_matches(desc_1, desc_2, subsample=4)
    np.testing.assert_array_equal(matches.pts2d_1, xy_1)
    np.testing.assert_array_equal(matches.pts2d_2, xy_2)
    assert_consistent(matches, (64, 80), (64, 80))


def test_confidence_is_the_smaller_one_of_the_two_pixels():
    desc_1, desc_2 = smooth_pair(48, 64)
    conf_1, conf_2 = np.random.default_rng(0).random((2, 48, 64)).astype(np.float32)
    matches = match_descriptors(desc_1, desc_2, conf_1, conf_2, ALL)
    expected = np.minimum(conf_1.ravel()[matches.idx_1], conf_2.ravel()[matches.idx_2])
    np.testing.assert_array_equal(matches.confidence, expected)
    assert matches.confidence_kind == 'desc_conf'
    assert len(matches) > 100


@pytest.mark.parametrize('given_', [{}, {'desc_conf_1': np.ones((48, 64), np.float32)}])
def test_confidence_is_the_similarity_unless_both_views_have_their_own(given_):
    desc_1, desc_2 = smooth_pair(48, 64)
    matches = match_pair(pair((48, 64), (48, 64), desc_1=desc_1, desc_2=desc_2, **given_), ALL)
    there, here = desc_1.reshape(-1, 24)[matches.idx_1], desc_2.reshape(-1, 24)[matches.idx_2]
    np.testing.assert_allclose(matches.confidence, (there * here).sum(axis=1), rtol=1e-5)
    assert matches.confidence_kind == 'similarity'


def test_masks_of_the_grids_hold():
    desc_1, desc_2 = smooth_pair(48, 64)
    mask_1, mask_2 = np.zeros((2, 48, 64), bool)
    mask_1[:, :40], mask_2[20:] = True, True
    result = InferenceResult(
        grid(48, 64, mask_1), grid(48, 64, mask_2), desc_1=desc_1, desc_2=desc_2
    )
    matches = match_pair(result, ALL)
    assert len(matches) > 20
    assert mask_1.ravel()[matches.idx_1].all()
    assert mask_2.ravel()[matches.idx_2].all()


def test_one_way_matching_answers_every_seed():
    desc_1, desc_2 = random_map(32, 40, seed=1), random_map(24, 28, seed=2)
    matches = match_descriptors(desc_1, desc_2, None, None, ALL.replace(reciprocal=False))
    seeds = [y * 40 + x for y in range(2, 32, 4) for x in range(2, 40, 4)]
    np.testing.assert_array_equal(matches.idx_1, seeds)
    scores = desc_1.reshape(-1, 24)[seeds] @ desc_2.reshape(-1, 24).T
    np.testing.assert_array_equal(matches.idx_2, scores.argmax(axis=1))
    assert_consistent(matches, (32, 40), (24, 28))


def test_one_way_matching_into_an_empty_mask_gives_nothing():
    desc = random_map(16, 16)
    matches = match_descriptors(
        desc, desc, None, None, ALL.replace(reciprocal=False), mask_2=np.zeros((16, 16), bool)
    )
    assert len(matches) == 0


def test_pixel_tol_keeps_the_seeds_where_they_are():
    desc_1, desc_2 = smooth_pair(64, 64, noise=0.3)
    matches = match_descriptors(desc_1, desc_2, None, None, ALL.replace(pixel_tol=5))
    assert len(matches) > 50
    assert np.all(matches.pts2d_1 % 4 == 2)


def test_settings_filter_the_matches():
    desc_1, desc_2 = smooth_pair(64, 64)
    all_of_them = match_descriptors(desc_1, desc_2, None, None, ALL)
    few = match_descriptors(
        desc_1, desc_2, None, None, ALL.replace(border_px=6, top_k=20, confidence_threshold=0.5)
    )
    assert len(few) == 20 < len(all_of_them)
    assert few.pts2d_2.min() >= 6
    assert few.pts2d_2.max() < 58


def test_a_confidence_map_of_another_size_is_refused():
    desc = random_map(16, 16)
    wrong = np.ones((8, 16), np.float32)
    with pytest.raises(InvalidInput, match=r'conf_2 has shape \(8, 16\); its view is 16x16'):
        match_descriptors(desc, desc, np.ones((16, 16), np.float32), wrong, ALL)


# Warps


def shift_warp(height, width, dx, dy):
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    return np.stack([x + np.float32(dx), y + np.float32(dy)], axis=-1)


def test_warp_matches_keep_their_subpixel_place():
    result = pair(
        (40, 60),
        (40, 60),
        warp_1_2=shift_warp(40, 60, 2.25, -1.375),
        warp_2_1=shift_warp(40, 60, -2.25, 1.375),
        warp_conf_1=np.full((40, 60), 7.0, np.float32),
    )
    matches = match_pair(result, ALL)
    np.testing.assert_allclose(matches.pts2d_2, np.add(matches.pts2d_1, [2.25, -1.375]), atol=1e-5)
    np.testing.assert_array_equal(matches.pts2d_1 % 4, np.full((len(matches), 2), 2.0))
    np.testing.assert_array_equal(
        matches.idx_2, np.rint(matches.pts2d_2[:, 1]) * 60 + np.rint(matches.pts2d_2[:, 0])
    )
    assert set(matches.confidence) == {7.0}
    assert matches.confidence_kind == 'warp_conf'
    assert len(matches) == 14 * 10  # columns 2, 6 .. 54 (58 leaves the view), rows 2, 6 .. 38


def test_a_warp_out_of_the_other_view_is_no_match():
    result = pair((40, 60), (40, 30), warp_1_2=shift_warp(40, 60, -20.0, 0.0))
    matches = match_pair(result, ALL)
    assert matches.pts2d_2[:, 0].min() >= -0.5
    assert matches.pts2d_2[:, 0].max() < 29.5
    np.testing.assert_array_equal(np.unique(matches.pts2d_1[:, 0]), [22, 26, 30, 34, 38, 42, 46])


def test_a_warp_whose_way_back_disagrees_is_no_match():
    back = shift_warp(40, 60, -2.0, 0.0)
    back[:, 30:, 0] += 1.5
    result = pair((40, 60), (40, 60), warp_1_2=shift_warp(40, 60, 2.0, 0.0), warp_2_1=back)
    assert match_pair(result, ALL).pts2d_2[:, 0].max() < 30
    assert match_pair(result, ALL.replace(pixel_tol=2)).pts2d_2[:, 0].max() > 50
    assert match_pair(result, ALL.replace(reciprocal=False)).pts2d_2[:, 0].max() > 50


def test_the_way_back_is_read_between_pixels():
    """A way back with a slope: only its value between the pixels leads home."""
    y, x = np.mgrid[0:40, 0:60].astype(np.float32)
    there = np.stack([0.5 * x + 3.3, y], axis=-1)
    back = np.stack([2.0 * (x - 3.3), y], axis=-1).astype(np.float32)
    result = pair((40, 60), (40, 60), warp_1_2=there, warp_2_1=back)
    error = np.abs(2.0 * (np.rint(there[..., 0]) - 3.3) - x).max()
    assert error > 0.5  # read at the nearest pixel it would be this far off
    strict = match_pair(result, ALL)
    assert len(strict) == 150


def test_pixels_without_a_warp_are_no_match():
    there, back = shift_warp(40, 60, 0.0, 0.0), shift_warp(40, 60, 0.0, 0.0)
    there[:, :20] = np.nan
    back[20:] = np.nan
    result = pair((40, 60), (40, 60), warp_1_2=there, warp_2_1=back)
    matches = match_pair(result, ALL)
    assert matches.pts2d_1[:, 0].min() >= 20
    assert matches.pts2d_1[:, 1].max() < 20
    np.testing.assert_array_equal(matches.idx_1, matches.idx_2)


def test_masks_hold_for_warps():
    mask_1, mask_2 = np.zeros((2, 40, 60), bool)
    mask_1[:, 10:50], mask_2[5:30] = True, True
    result = InferenceResult(
        grid(40, 60, mask_1), grid(40, 60, mask_2), warp_1_2=shift_warp(40, 60, 0.4, 0.4)
    )
    matches = match_pair(result, ALL)
    assert mask_1.ravel()[matches.idx_1].all()
    assert mask_2.ravel()[matches.idx_2].all()
    assert len(matches) == 10 * 6  # columns 10, 14 .. 46 and rows 6, 10 .. 26
    assert matches.confidence_kind == 'none'


def test_a_warp_with_nothing_in_it_gives_no_match():
    nothing = np.full((40, 60, 2), np.nan, np.float32)
    matches = match_pair(pair((40, 60), (40, 60), warp_1_2=nothing, warp_2_1=nothing), ALL)
    assert len(matches) == 0
    assert matches.pts2d_2.shape == (0, 2)


# Clouds


def surface(height, width, *, seed=0):
    """A wavy surface some metres away, seen on a grid; and the same points in another order."""
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    z = 5 + np.sin(x / 9) + 0.7 * np.cos(y / 7)
    cloud = np.stack([(x - width / 2) * z / 80, (y - height / 2) * z / 80, z], axis=-1)
    return cloud.astype(np.float32)


def test_two_views_of_one_surface_match_point_by_point():
    cloud = surface(60, 80)
    moved = np.roll(cloud, (6, -10), (0, 1)) + np.float32(1e-3)
    conf_1, conf_2 = np.random.default_rng(0).random((2, 60, 80)).astype(np.float32) + 1
    result = pair((60, 80), (60, 80), pts3d_1=cloud, pts3d_2=moved, conf_1=conf_1, conf_2=conf_2)
    matches = match_pair(result, ALL)
    np.testing.assert_array_equal(np.add(matches.pts2d_1, [-10, 6]) % [80, 60], matches.pts2d_2)
    expected = np.minimum(conf_1.ravel()[matches.idx_1], conf_2.ravel()[matches.idx_2])
    np.testing.assert_array_equal(matches.confidence, expected)
    assert matches.confidence_kind == 'conf'
    assert len(matches) == 300
    assert_consistent(matches, (60, 80), (60, 80))


def test_points_that_are_missing_or_masked_are_no_match():
    cloud, other = surface(48, 64), surface(48, 64)
    cloud[:10] = np.nan
    mask_2 = np.zeros((48, 64), bool)
    mask_2[:, 20:] = True
    result = InferenceResult(grid(48, 64), grid(48, 64, mask_2), pts3d_1=cloud, pts3d_2=other)
    matches = match_pair(result, ALL)
    assert matches.pts2d_1[:, 1].min() >= 10
    assert matches.pts2d_2[:, 0].min() >= 20
    assert matches.confidence_kind == 'none'
    assert set(matches.confidence) == {1.0}


def test_clouds_of_different_sizes_match():
    cloud = surface(48, 64)
    matches = match_pair(pair((48, 64), (30, 40), pts3d_1=cloud, pts3d_2=cloud[9:39, 15:55]), ALL)
    np.testing.assert_array_equal(matches.pts2d_1, np.add(matches.pts2d_2, [15, 9]))
    assert len(matches) > 50


@pytest.mark.parametrize('far_m', [0.0, 1e4])
@pytest.mark.parametrize('ordered', [True, False])
def test_the_closest_point_is_found_wherever_the_clouds_lie(far_m, ordered):
    rng = np.random.default_rng(2)
    targets = surface(50, 70) if ordered else rng.normal(size=(50, 70, 3)).astype(np.float32)
    queries = targets + 0.1 * rng.normal(size=targets.shape).astype(np.float32)
    targets, queries = targets + np.float32(far_m), queries + np.float32(far_m)
    view_1, view_2 = PixelVectors('queries', queries), PixelVectors('targets', targets)
    found = DistanceSearch(view_2).nearest(view_1, np.arange(0, 3500, 3))
    exact = queries.reshape(-1, 1, 3)[::3].astype(np.float64) - targets.reshape(1, -1, 3)
    distance = np.linalg.norm(exact, axis=2)
    chosen = distance[np.arange(len(found)), found]
    np.testing.assert_allclose(chosen, distance.min(axis=1), rtol=1e-6)
    if far_m == 0.0:
        np.testing.assert_array_equal(found, distance.argmin(axis=1))


# What to match by


def test_descriptors_come_before_warp_and_warp_before_clouds():
    desc_1, desc_2 = smooth_pair(40, 60)
    cloud = surface(40, 60)
    everything = pair(
        (40, 60),
        (40, 60),
        desc_1=desc_1,
        desc_2=desc_2,
        warp_1_2=shift_warp(40, 60, 0.0, 0.0),
        pts3d_1=cloud,
        pts3d_2=cloud,
        conf_1=np.ones((40, 60), np.float32),
        conf_2=np.ones((40, 60), np.float32),
        warp_conf_1=np.ones((40, 60), np.float32),
    )
    assert match_pair(everything, ALL).confidence_kind == 'similarity'
    without = replace(everything, desc_1=None, desc_2=None)
    assert match_pair(without, ALL).confidence_kind == 'warp_conf'
    assert match_pair(replace(without, warp_1_2=None), ALL).confidence_kind == 'conf'


def test_a_result_with_nothing_to_match_by_says_so():
    with pytest.raises(InvalidInput, match='neither descriptors, nor a warp, nor both clouds'):
        match_pair(pair((8, 8), (8, 8), pts3d_1=surface(8, 8)), ALL)
