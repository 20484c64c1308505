# SPDX-License-Identifier: Apache-2.0
"""Reciprocal matching of descriptors: the published algorithm's very answers, under any mask."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.descriptor_maps import random_map, smooth_pair, unit
from support.reference_matching import brute_nearest, reference_matches

from mast3r_ros.core import nearest
from mast3r_ros.core.matching import fast_reciprocal_matches
from mast3r_ros.errors import InvalidInput


def assert_same(found, expected):
    for ours, reference in zip(found, expected, strict=True):
        assert ours.dtype == np.int64
        np.testing.assert_array_equal(ours, reference)


def assert_as_reference(desc_1, desc_2, **options):
    found = fast_reciprocal_matches(desc_1, desc_2, **options)
    assert_same(found, reference_matches(desc_1, desc_2, **options))
    return found


def blob_mask(height, width, seed):
    """Return a mask with a few large foreground regions, about half of the view."""
    grain = np.random.default_rng(seed).standard_normal((height, width)).astype(np.float32)
    return cv2.GaussianBlur(grain, (0, 0), 6) > 0


@st.composite
def integer_maps(draw):
    """Two small maps of small whole numbers: sums are exact and ties are many."""
    dim = draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    high = draw(st.integers(1, 4))
    sizes = [(draw(st.integers(1, 23)), draw(st.integers(1, 23))) for _ in range(2)]
    return [rng.integers(-high, high + 1, (*size, dim)).astype(np.float32) for size in sizes]


@st.composite
def masks_of(draw, desc):
    kind = draw(st.sampled_from(['none', 'bool', 'uint8', 'empty']))
    if kind == 'none':
        return None
    share = 0.0 if kind == 'empty' else draw(st.floats(0.1, 1.0))
    mask = np.random.default_rng(draw(st.integers(0, 99))).random(desc.shape[:2]) < share
    return mask.astype(np.uint8) * 255 if kind == 'uint8' else mask


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_equals_the_published_algorithm_ties_and_masks_included(data):
    desc_1, desc_2 = data.draw(integer_maps())
    with pytest.MonkeyPatch.context() as change:
        # By cells too, which so few pixels would not be worth.
        change.setattr(nearest, '_FEW_QUERIES', data.draw(st.sampled_from([0, 96])))
        assert_as_reference(
            desc_1,
            desc_2,
            subsample=data.draw(st.integers(1, 9)),
            pixel_tol=data.draw(st.sampled_from([0, 1, 2, 5])),
            mask_1=data.draw(masks_of(desc_1)),
            mask_2=data.draw(masks_of(desc_2)),
        )


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_given_seeds_equal_the_published_algorithm(data):
    desc_1, desc_2 = data.draw(integer_maps())
    height, width = desc_1.shape[:2]
    points = data.draw(
        st.lists(st.tuples(st.integers(0, width - 1), st.integers(0, height - 1)), max_size=40)
    )
    x, y = np.array(points, np.int64).reshape(-1, 2).T
    expected = reference_matches(
        desc_1, desc_2, seeds=(x, y), pixel_tol=(tol := data.draw(st.sampled_from([0, 3])))
    )
    assert_same(fast_reciprocal_matches(desc_1, desc_2, seeds=(x, y), pixel_tol=tol), expected)
    as_points = np.stack([x, y], axis=1).astype(np.int32)
    assert_same(fast_reciprocal_matches(desc_1, desc_2, seeds=as_points, pixel_tol=tol), expected)


@pytest.mark.parametrize('seed', range(20))
def test_equals_the_published_algorithm_without_spatial_order(seed):
    rng = np.random.default_rng(seed)
    sizes = rng.integers(20, 90, 4)
    desc_1, desc_2 = random_map(*sizes[:2], seed=seed), random_map(*sizes[2:], seed=seed + 100)
    xy_1, _ = assert_as_reference(desc_1, desc_2, subsample=int(rng.integers(2, 10)))
    assert len(xy_1) > 0


@pytest.mark.parametrize('noise', [0.0, 0.05, 0.2, 0.5, 1.5])
@pytest.mark.parametrize('masked', [False, True])
def test_equals_the_published_algorithm_on_smooth_maps(noise, masked):
    desc_1, desc_2 = smooth_pair(115, 142, noise=noise, seed=3)
    masks = (blob_mask(115, 142, 1), blob_mask(115, 142, 2)) if masked else (None, None)
    xy_1, _ = assert_as_reference(desc_1, desc_2, mask_1=masks[0], mask_2=masks[1])
    assert len(xy_1) > 30


@pytest.mark.parametrize('noise', [0.0, 0.2])
def test_the_first_of_equals_is_found_on_smooth_maps_too(noise):
    """Few whole numbers, so that sums are exact and many pixels are equally near."""
    desc_1, desc_2 = (np.rint(one * 4) for one in smooth_pair(119, 130, noise=noise, dim=6))
    assert_as_reference(desc_1, desc_2, subsample=4)


def test_the_first_of_equals_is_found_in_large_views_without_order():
    """Larger than what is compared at a time: an equal that comes later must not win."""
    rng = np.random.default_rng(0)
    desc_1, desc_2 = rng.integers(-2, 3, (2, 121, 134, 5)).astype(np.float32)
    assert_as_reference(desc_1, desc_2)


def test_views_of_different_sizes_match_in_both_orders():
    desc_1, desc_2 = smooth_pair(120, 90, noise=0.1)
    cut = desc_2[17:101, 5:72]
    assert_as_reference(desc_1, cut)
    assert_as_reference(cut, desc_1)


def test_vectors_of_any_length_are_compared_by_dot_product():
    desc_1, desc_2 = smooth_pair(96, 96, noise=0.1)
    rng = np.random.default_rng(0)
    lengths = rng.uniform(0.0, 50.0, (2, 96, 96, 1)).astype(np.float32)
    assert_as_reference(desc_1 * lengths[0], desc_2 * lengths[1])


def test_a_map_without_any_difference_matches_the_first_pixel_only():
    flat = np.full((40, 40, 8), 0.5, np.float32)
    xy_1, xy_2 = assert_as_reference(flat, flat)
    np.testing.assert_array_equal(xy_1, [[0, 0]])
    np.testing.assert_array_equal(xy_2, [[0, 0]])


def test_every_match_is_the_nearest_of_its_partner():
    desc_1, desc_2 = smooth_pair(88, 104, noise=0.3)
    xy_1, xy_2 = fast_reciprocal_matches(desc_1, desc_2, subsample=4)
    pixels_1, pixels_2 = xy_1[:, 0] + 104 * xy_1[:, 1], xy_2[:, 0] + 104 * xy_2[:, 1]
    everything = np.ones(88 * 104, bool)
    np.testing.assert_array_equal(brute_nearest(desc_1, pixels_1, desc_2, everything), pixels_2)
    np.testing.assert_array_equal(brute_nearest(desc_2, pixels_2, desc_1, everything), pixels_1)


def test_matches_come_once_and_ordered_by_view_1():
    desc_1, desc_2 = smooth_pair(64, 80, noise=0.2)
    xy_1, _ = fast_reciprocal_matches(desc_1, desc_2, subsample=2)
    assert np.all(np.diff(xy_1[:, 0] + 80 * xy_1[:, 1]) > 0)


def test_the_order_of_the_channels_does_not_matter():
    rng = np.random.default_rng(5)
    desc_1, desc_2 = rng.integers(-9, 10, (2, 40, 48, 24)).astype(np.float32)
    order = rng.permutation(24)
    expected = fast_reciprocal_matches(desc_1, desc_2)
    shuffled = fast_reciprocal_matches(desc_1[..., order], desc_2[..., order])
    assert_same(shuffled, expected)


def test_matches_follow_when_the_rows_of_view_2_change_places():
    desc_1, desc_2 = smooth_pair(60, 60, noise=0.1)
    order = np.random.default_rng(1).permutation(60)
    xy_1, xy_2 = fast_reciprocal_matches(desc_1, desc_2)
    moved_1, moved_2 = fast_reciprocal_matches(desc_1, desc_2[order])
    np.testing.assert_array_equal(moved_1, xy_1)
    np.testing.assert_array_equal(moved_2[:, 0], xy_2[:, 0])
    np.testing.assert_array_equal(order[moved_2[:, 1]], xy_2[:, 1])


@pytest.mark.parametrize('options', [{}, {'pixel_tol': 4}, {'subsample': 1}])
def test_no_match_crosses_a_mask(options):
    desc_1, desc_2 = smooth_pair(72, 72, noise=0.4)
    mask_1, mask_2 = blob_mask(72, 72, 7), blob_mask(72, 72, 8)
    xy_1, xy_2 = fast_reciprocal_matches(desc_1, desc_2, mask_1=mask_1, mask_2=mask_2, **options)
    assert len(xy_1) > 5
    assert mask_1[xy_1[:, 1], xy_1[:, 0]].all()
    assert mask_2[xy_2[:, 1], xy_2[:, 0]].all()


def test_what_a_mask_hides_has_no_influence():
    desc_1, desc_2 = smooth_pair(72, 72, noise=0.2)
    mask_1, mask_2 = blob_mask(72, 72, 7), blob_mask(72, 72, 8)
    expected = fast_reciprocal_matches(desc_1, desc_2, mask_1=mask_1, mask_2=mask_2)
    desc_1[~mask_1], desc_2[~mask_2] = 1e3, np.nan
    assert_same(fast_reciprocal_matches(desc_1, desc_2, mask_1=mask_1, mask_2=mask_2), expected)


@pytest.mark.parametrize('hidden', ['mask_1', 'mask_2'])
@pytest.mark.parametrize('options', [{}, {'pixel_tol': 3}, {'seeds': ([4], [4])}])
def test_an_empty_mask_gives_no_match(hidden, options):
    desc = random_map(16, 16)
    nothing = np.zeros((16, 16), bool)
    xy_1, xy_2 = fast_reciprocal_matches(desc, desc, **{hidden: nothing}, **options)
    assert xy_1.shape == xy_2.shape == (0, 2)


@pytest.mark.parametrize(
    'options', [{'seeds': ([], [])}, {'seeds': np.empty((0, 2), int)}, {'subsample': 64}]
)
def test_no_seed_gives_no_match(options):
    desc = random_map(16, 16)
    xy_1, xy_2 = fast_reciprocal_matches(desc, desc, **options)
    assert xy_1.shape == xy_2.shape == (0, 2)


@pytest.mark.parametrize('wrong', [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_not_finite_takes_no_part(wrong):
    desc_1, desc_2 = smooth_pair(64, 64, noise=0.2)
    broken_1, broken_2 = blob_mask(64, 64, 4), blob_mask(64, 64, 5)
    expected = fast_reciprocal_matches(desc_1, desc_2, mask_1=~broken_1, mask_2=~broken_2)
    desc_1[broken_1, 3], desc_2[broken_2, 7] = wrong, wrong
    assert_same(fast_reciprocal_matches(desc_1, desc_2), expected)


def test_huge_but_finite_numbers_take_part():
    desc_1, desc_2 = smooth_pair(40, 40)
    huge = np.float32(2.0**62)
    expected = fast_reciprocal_matches(desc_1, desc_2)
    assert_same(fast_reciprocal_matches(desc_1 * huge, desc_2 * huge), expected)
    opposite = np.full((8, 8, 2), 3e38, np.float32)
    opposite[..., 1] = -3e38
    assert len(fast_reciprocal_matches(opposite, np.ones((8, 8, 2), np.float32))[0]) == 1


def test_half_precision_is_matched_as_it_is():
    half = [one.astype(np.float16) for one in smooth_pair(72, 60, noise=0.2)]
    expected = fast_reciprocal_matches(*[one.astype(np.float32) for one in half])
    assert_same(fast_reciprocal_matches(*half), expected)


def test_the_order_in_memory_does_not_matter():
    desc_1, desc_2 = smooth_pair(72, 60, noise=0.2)
    expected = fast_reciprocal_matches(desc_1, desc_2)
    channels_first = np.ascontiguousarray(np.moveaxis(desc_1, -1, 0))
    mirrored = np.ascontiguousarray(desc_2[::-1, ::-1])
    found = fast_reciprocal_matches(np.moveaxis(channels_first, 0, -1), mirrored[::-1, ::-1])
    assert_same(found, expected)


def test_inputs_are_left_as_they_were():
    desc_1, desc_2 = smooth_pair(48, 48)
    mask = blob_mask(48, 48, 1)
    copies = [desc_1.copy(), desc_2.copy(), mask.copy()]
    for array in (desc_1, desc_2, mask):
        array.setflags(write=False)
    fast_reciprocal_matches(desc_1, desc_2, mask_1=mask, mask_2=mask)
    for array, copy in zip((desc_1, desc_2, mask), copies, strict=True):
        np.testing.assert_array_equal(array, copy)


def test_within_tolerance_a_seed_keeps_its_own_place():
    desc_1, desc_2 = smooth_pair(80, 80, noise=0.3)
    xy_1, _ = fast_reciprocal_matches(desc_1, desc_2, subsample=8, pixel_tol=5)
    assert np.all(xy_1 % 8 == 4)
    strict, _ = fast_reciprocal_matches(desc_1, desc_2, seeds=(xy_1[:, 0], xy_1[:, 1]))
    assert 0 < len(strict) < len(xy_1)


CLEAN = unit(np.ones((6, 8, 4)))


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'desc_1': CLEAN[..., 0]}, r'desc_1 has shape \(6, 8\); allowed is \(height, width, D\)'),
        ({'desc_2': CLEAN[:0]}, r'desc_2 has shape \(0, 8, 4\)'),
        ({'desc_2': CLEAN.astype(np.float64)}, 'desc_2 is float64; allowed are float32'),
        ({'desc_1': CLEAN.tolist()}, 'desc_1 is a list'),
        ({'desc_2': CLEAN[..., :3]}, 'desc_1 has 4 channels and desc_2 has 3'),
        ({'mask_1': np.ones((8, 6), bool)}, r'the mask has shape \(8, 6\)'),
        ({'mask_2': np.ones((6, 8), np.float32)}, 'the mask is float32'),
        ({'subsample': 0}, 'subsample is 0; allowed is a whole number of at least 1'),
        ({'subsample': 2.5}, r'subsample is 2\.5; allowed is a whole number'),
        ({'pixel_tol': -1}, 'pixel_tol is -1; allowed is a number of at least 0'),
        ({'pixel_tol': np.nan}, 'pixel_tol is nan'),
        ({'seeds': ([8], [0])}, r'the seed \(8, 0\) is outside view 1'),
        ({'seeds': [[0, -1]]}, r'the seed \(0, -1\) is outside view 1'),
        ({'seeds': ([1, 2], [0])}, 'the seeds are no points'),
        ({'seeds': np.zeros((3, 3), int)}, r'the seeds have shape \(3, 3\)'),
        ({'seeds': [[0.5, 1.0]]}, 'the seeds are float64; give whole pixels'),
    ],
)
def test_wrong_input_is_named_with_what_is_allowed(change, words):
    arguments = {'desc_1': CLEAN, 'desc_2': CLEAN, **change}
    with pytest.raises(InvalidInput, match=words):
        fast_reciprocal_matches(arguments.pop('desc_1'), arguments.pop('desc_2'), **arguments)


@pytest.mark.parametrize(('dtype', 'ordered'), [(np.float32, True), (np.float16, False)])
def test_memory_beyond_the_inputs_stays_below_200_mb_at_2048_pixels(dtype, ordered, monkeypatch):
    monkeypatch.setattr('mast3r_ros.core.parallel.thread_count', lambda: 4)
    coarse = smooth_pair(192, 256)[0].astype(dtype)
    if not ordered:
        np.random.default_rng(0).shuffle(coarse.reshape(-1, 24))
    desc = coarse.repeat(8, axis=0).repeat(8, axis=1) if ordered else np.tile(coarse, (8, 8, 1))
    assert desc.shape == (1536, 2048, 24)
    tracemalloc.start()
    try:
        xy_1, _ = fast_reciprocal_matches(desc, desc, subsample=16 if ordered else 256)
        peak_mb = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    assert len(xy_1) > 0
    assert peak_mb < 200
