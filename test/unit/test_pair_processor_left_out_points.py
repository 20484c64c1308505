# SPDX-License-Identifier: Apache-2.0
"""Pixels that are masked, unsure or too far have no point, and masked ones no match."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.answered_pair import answered, stereo_pair
from support.oracle_engine import EXACT

from mast3r_ros.config import CloudConfig


def test_masked_pixels_have_no_point_and_no_match() -> None:
    mask_1, mask_2 = np.ones((150, 200), bool), np.ones((150, 200), bool)
    mask_1[:, :100] = False
    mask_2[:75] = False
    result = answered(pair=stereo_pair(mask_1, mask_2))
    free = answered()
    columns = result.cloud_1.grid.to_image(np.stack([np.arange(140), np.zeros(140)], -1))[:, 0]
    assert np.isnan(result.cloud_1.points[:, columns < 99]).all()
    assert np.isfinite(result.cloud_1.points[:, columns > 101]).all()
    rows = result.cloud_2.grid.to_image(np.stack([np.zeros(98), np.arange(98)], -1))[:, 1]
    assert np.isnan(result.cloud_2.points[rows < 74]).all()
    assert np.isfinite(result.cloud_2.points[rows > 76]).all()
    assert 20 < len(result.matches) < len(free.matches)
    assert result.matches.uv_1[:, 0].min() > 98
    assert result.matches.uv_2[:, 1].min() > 73


def test_a_mask_of_nothing_gives_an_empty_answer_and_no_error() -> None:
    nothing = np.zeros((150, 200), bool)
    result = answered(pair=stereo_pair(nothing, nothing))
    assert len(result.matches) == 0
    assert np.isnan(result.cloud_1.points).all()


def test_points_below_the_confidence_threshold_are_left_out() -> None:
    whole = answered(errors=replace(EXACT, depth=0.03))
    sure = answered(errors=replace(EXACT, depth=0.03), cloud=CloudConfig(confidence_threshold=6.0))
    kept = np.isfinite(sure.cloud_1.depth)
    np.testing.assert_array_equal(kept, whole.cloud_1.confidence >= 6.0)
    assert 0.1 < kept.mean() < 0.9
    np.testing.assert_array_equal(sure.cloud_1.confidence, whole.cloud_1.confidence)
    assert np.isfinite(whole.cloud_1.depth).all()


def test_points_beyond_the_range_are_left_out_by_their_distance_in_metres() -> None:
    whole, near = answered(scale=0.37), answered(scale=0.37, cloud=CloudConfig(max_range_m=3.4))
    distance = np.linalg.norm(whole.cloud_1.points, axis=2)
    kept = np.isfinite(near.cloud_1.depth)
    np.testing.assert_array_equal(kept, distance <= 3.4)
    assert 0.1 < kept.mean() < 0.9
