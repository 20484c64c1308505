# SPDX-License-Identifier: Apache-2.0
"""The geometric engine on real pictures: a truth to the fraction of a pixel, a drone, a walk."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from support.real_data import (
    KITCHEN_CAMERA,
    MOTORCYCLE_BASELINE_M,
    MOTORCYCLE_FOCAL_PX,
    MOTORCYCLE_OFFSET_PX,
    euroc_pairs,
    kitchen_pairs,
    motorcycle,
)

from mast3r_ros.core.results import Output, ScaleSource
from mast3r_ros.engines.geometric.engine import GeometricEngine

pytestmark = pytest.mark.data


def test_motorcycle_is_dense_sharp_and_knows_its_weak_half() -> None:
    pair = motorcycle()
    with GeometricEngine() as engine:
        result = engine.infer(
            pair.image_1, pair.image_2, cameras=pair.cameras, outputs=Output.CLOUD_1
        )
    assert result.scale_source is ScaleSource.STEREO_BASELINE
    assert result.pts3d_1 is not None
    assert result.conf_1 is not None
    assert pair.true_disparity is not None
    depth = result.pts3d_1[..., 2].astype(np.float64)
    disparity = MOTORCYCLE_FOCAL_PX * MOTORCYCLE_BASELINE_M / depth - MOTORCYCLE_OFFSET_PX
    has_truth = np.isfinite(pair.true_disparity)
    kept = np.isfinite(disparity) & has_truth
    error_px = np.abs(disparity - pair.true_disparity)[kept]
    assert kept.sum() / has_truth.sum() >= 0.89
    assert np.median(error_px) <= 0.14
    bad = np.mean(error_px > 2.0)
    assert bad <= 0.052
    surest = np.argsort(-result.conf_1[kept], kind='stable')[: len(error_px) // 2]
    assert np.mean(error_px[surest] > 2.0) <= 0.5 * bad


def test_motorcycle_matches_are_precise() -> None:
    pair = motorcycle()
    with GeometricEngine() as engine:
        result = engine.infer(
            pair.image_1, pair.image_2, cameras=pair.cameras, outputs=Output.WARP
        )
        matches = engine.match_result(result)
    assert pair.true_disparity is not None
    truth = pair.true_disparity.ravel()[matches.idx_1]
    shift_px = matches.pts2d_1[:, 0] - matches.pts2d_2[:, 0]
    known = np.isfinite(truth)
    assert len(matches) > 4000
    assert np.median(np.abs(shift_px - truth)[known]) < 0.14
    assert np.mean(np.abs(shift_px - truth)[known] > 2.0) < 0.06


def test_uncalibrated_motorcycle_is_matched_too() -> None:
    pair = motorcycle()
    with GeometricEngine() as engine:
        result = engine.infer(pair.image_1, pair.image_2)
        matches = engine.match_result(result)
    assert result.T_2_1 is not None
    assert result.T_2_1[0, 3] < -0.95  # camera 2 stands to the right
    assert pair.true_disparity is not None
    truth = pair.true_disparity.ravel()[matches.idx_1]
    shift = matches.pts2d_1 - matches.pts2d_2
    known = np.isfinite(truth)
    assert len(matches) > 3000
    assert np.median(np.hypot(shift[known, 0] - truth[known], shift[known, 1])) < 0.3


def test_raw_drone_pairs_give_metres_that_hold_still() -> None:
    pairs = euroc_pairs()
    assert len(pairs) == 30
    with GeometricEngine() as engine:
        depths = []
        for pair in pairs:
            result = engine.infer(
                pair.image_1, pair.image_2, cameras=pair.cameras, outputs=Output.CLOUD_1
            )
            assert result.pts3d_1 is not None
            depths.append(result.pts3d_1[..., 2])
    depth = np.array(depths)
    valid = np.isfinite(depth)
    assert valid.mean() >= 0.75
    assert np.median(depth[valid]) == pytest.approx(2.2, rel=0.05)
    seen = valid.sum(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', RuntimeWarning)  # pixels that were never seen
        spread = np.nanstd(depth, axis=0) / np.nanmean(depth, axis=0)
    assert np.median(spread[seen >= 2]) <= 0.01


def test_walk_between_frames_turns_as_measured() -> None:
    pairs = kitchen_pairs(gap=4, every=3)
    assert len(pairs) >= 48
    errors_deg = []
    with GeometricEngine() as engine:
        for newer, older in pairs:
            result = engine.infer(
                newer.image,
                older.image,
                cameras=(KITCHEN_CAMERA, KITCHEN_CAMERA),
                outputs=Output.CLOUD_1,
            )
            assert result.T_2_1 is not None, f'{newer.number}: {result.notes}'
            truth = np.linalg.inv(older.T_world_camera) @ newer.T_world_camera
            turn = result.T_2_1[:3, :3] @ truth[:3, :3].T
            cosine = np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0)
            errors_deg.append(np.degrees(np.arccos(cosine)))
    assert np.median(errors_deg) <= 0.4
    assert np.percentile(errors_deg, 90) <= 1.2
    assert np.max(errors_deg) <= 5.0


@pytest.mark.parametrize('gap', [16, 32])
def test_larger_steps_of_the_walk_are_found_too(gap: int) -> None:
    pairs = kitchen_pairs(gap=gap, every=14)
    errors_deg = []
    with GeometricEngine() as engine:
        for newer, older in pairs:
            result = engine.infer(
                newer.image,
                older.image,
                cameras=(KITCHEN_CAMERA, KITCHEN_CAMERA),
                outputs=Output.CLOUD_1,
            )
            if result.T_2_1 is None:
                assert result.notes
                continue
            truth = np.linalg.inv(older.T_world_camera) @ newer.T_world_camera
            turn = result.T_2_1[:3, :3] @ truth[:3, :3].T
            cosine = np.clip((np.trace(turn) - 1.0) / 2.0, -1.0, 1.0)
            errors_deg.append(np.degrees(np.arccos(cosine)))
    assert len(errors_deg) >= 0.7 * len(pairs)
    assert np.median(errors_deg) <= 0.1 * gap
