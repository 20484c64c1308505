# SPDX-License-Identifier: Apache-2.0
"""The stereo baseline gives the metres, robustly, and says what they rest on."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from oracle_engine import EXACT, ErrorModel, OracleEngine
from scene import Scene, Shot, placed, small_camera, stereo_shots

from mast3r_ros.config import MatchingConfig, ModelConfig, ScaleRule
from mast3r_ros.core.geometry import transform
from mast3r_ros.core.poses import stereo_pose
from mast3r_ros.core.results import InferenceResult, MatchResult, Output, ScaleSource
from mast3r_ros.core.scale import MIN_MATCHES, Scale, ScaleKeeper, baseline_ratios
from mast3r_ros.errors import InvalidInput

DENSE = MatchingConfig(subsample=4)
Case = tuple[InferenceResult, MatchResult, np.ndarray]


@cache
def rig(seed: int = 0) -> tuple[Shot, Shot]:
    return stereo_shots(Scene(seed), width=240, height=180)


@cache
def answered(
    shots: tuple[Shot, Shot] | None = None, matching: MatchingConfig = DENSE, **oracle: object
) -> Case:
    """Return the oracle's answer for a stereo pair, its matches, and the pair's true pose."""
    left, right = shots or rig()
    engine = OracleEngine(ModelConfig(resolution=196), **oracle).register_shots([left, right])
    result = engine.infer(left.image, right.image, cameras=(left.camera, right.camera))
    pose = stereo_pose(left.camera, right.camera)
    return result, engine.match_result(result, matching), pose


def auto(case: Case, keeper: ScaleKeeper | None = None) -> Scale:
    result, matches, T_2_1 = case
    return (keeper or ScaleKeeper(ScaleRule.AUTO)).decide(result, T_2_1, matches)


def fewer(case: Case, count: int) -> Case:
    return case[0], case[1].select(np.arange(count)), case[2]


@pytest.mark.parametrize('seed', range(5))
def test_points_too_small_with_one_match_in_ten_wrong_come_back_within_1_percent(
    seed: int,
) -> None:
    errors = replace(EXACT, wrong_matches=0.10)
    scale = auto(answered(rig(seed), scale=0.37, errors=errors, seed=seed))
    assert scale.factor == pytest.approx(1 / 0.37, rel=0.01)
    assert scale.source is ScaleSource.STEREO_BASELINE


@pytest.mark.parametrize('factor', [0.01, 0.37, 1.0, 25.0])
def test_any_scale_is_undone(factor: float) -> None:
    assert auto(answered(scale=factor, errors=EXACT)).factor == pytest.approx(1 / factor, rel=0.01)


def test_a_vertical_pair_gives_the_scale_as_well() -> None:
    scene, camera = Scene(), small_camera(240, 180)
    P = np.hstack([camera.K, [[0.0], [-camera.fy * 0.3], [0.0]]])
    shots = scene.look(camera), scene.look(replace(camera, P=P), placed(0.0, 0.3))
    assert auto(answered(shots, scale=0.37, errors=EXACT)).factor == pytest.approx(
        1 / 0.37, rel=0.01
    )


def test_a_network_s_errors_leave_the_scale_near_and_show_in_its_spread() -> None:
    exact = auto(answered(scale=0.37, errors=EXACT))
    rough = auto(answered(scale=0.37, errors=replace(ErrorModel(), scale=0.0)))
    assert rough.factor == pytest.approx(1 / 0.37, rel=0.05)
    assert 0.0 < exact.spread < 0.03 < rough.spread < 0.3


def test_the_scale_error_of_one_inference_is_taken_out() -> None:
    result, matches, T_2_1 = answered(errors=replace(EXACT, scale=0.3), seed=4)
    factor = auto((result, matches, T_2_1)).factor
    true_depth = answered(errors=EXACT)[0].pts3d_1
    assert result.pts3d_1 is not None
    assert true_depth is not None
    before = result.pts3d_1[..., 2] / true_depth[..., 2]
    assert abs(np.median(before) - 1) > 0.03
    np.testing.assert_allclose(before * factor, 1.0, atol=0.01)


def test_the_scale_tells_on_how_many_matches_it_rests() -> None:
    case = answered(errors=EXACT)
    scale = auto(case)
    assert scale.matches == len(baseline_ratios(*case)[0])
    assert MIN_MATCHES <= scale.matches <= len(case[1])


def test_fewer_than_50_matches_hold_the_last_scale_and_are_counted() -> None:
    keeper = ScaleKeeper(ScaleRule.AUTO)
    case = answered(scale=0.37, errors=EXACT)
    good = auto(case, keeper)
    held = auto(fewer(case, MIN_MATCHES - 1), keeper)
    assert (held.factor, held.spread) == (good.factor, good.spread)
    assert held.source is ScaleSource.STEREO_BASELINE
    assert held.matches == 0
    assert keeper.held == 1
    assert auto(case, keeper).matches > 0
    assert keeper.held == 1


@pytest.mark.parametrize(
    ('metric', 'source'), [(True, ScaleSource.MODEL), (False, ScaleSource.NONE)]
)
def test_with_nothing_to_hold_the_engine_s_own_unit_stands(
    metric: bool, source: ScaleSource
) -> None:
    keeper = ScaleKeeper(ScaleRule.AUTO)
    scale = auto(fewer(answered(metric=metric), 10), keeper)
    assert (scale.factor, scale.source) == (1.0, source)
    assert np.isnan(scale.spread)
    assert keeper.held == 1


def test_a_reset_forgets_the_held_scale() -> None:
    keeper = ScaleKeeper(ScaleRule.AUTO)
    case = answered(scale=0.37, errors=EXACT)
    auto(case, keeper)
    keeper.reset()
    assert auto(fewer(case, 10), keeper).factor == 1.0


def test_no_matches_at_all_hold_the_scale_too() -> None:
    keeper = ScaleKeeper(ScaleRule.AUTO)
    result, _, T_2_1 = answered()
    assert keeper.decide(result, T_2_1, None).source is ScaleSource.NONE
    assert auto(fewer(answered(), 0), keeper).source is ScaleSource.NONE
    assert keeper.held == 2


@pytest.mark.parametrize(('parallax_px', 'counted'), [(0.8, False), (1.2, True)])
def test_matches_with_less_than_a_pixel_of_parallax_do_not_count(
    parallax_px: float, counted: bool
) -> None:
    result, matches, T_2_1 = answered(errors=EXACT)
    assert result.pts3d_1 is not None
    camera_1, camera_2 = result.grid_1.camera, result.grid_2.camera
    points = result.pts3d_1.reshape(-1, 3)[matches.idx_1]
    nearer = T_2_1.copy()
    nearer[0, 3] = -parallax_px * points[:, 2].max() / camera_1.fx
    seen = camera_2.project(transform(nearer, points)).astype(np.float32)
    true = replace(matches, pts2d_2=seen)
    furthest = points[:, 2] > 0.95 * points[:, 2].max()
    ratios, weights = baseline_ratios(result, true.select(furthest), nearer)
    assert len(ratios) == len(weights) == (furthest.sum() if counted else 0)


def test_matches_off_their_epipolar_line_do_not_count() -> None:
    result, matches, T_2_1 = answered(errors=EXACT)
    lifted = replace(matches, pts2d_2=matches.pts2d_2 + np.float32([0.0, 5.0]))
    assert len(baseline_ratios(result, lifted, T_2_1)[0]) == 0
    assert len(baseline_ratios(result, matches, T_2_1)[0]) > MIN_MATCHES


def test_points_that_are_nan_or_behind_the_camera_do_not_count() -> None:
    result, matches, T_2_1 = answered(errors=EXACT)
    assert result.pts3d_1 is not None
    broken = result.pts3d_1.copy()
    broken.reshape(-1, 3)[matches.idx_1[:20]] = np.nan
    broken.reshape(-1, 3)[matches.idx_1[20:40], 2] *= -1
    whole = len(baseline_ratios(result, matches, T_2_1)[0])
    ratios, _ = baseline_ratios(replace(result, pts3d_1=broken), matches, T_2_1)
    assert whole - 40 <= len(ratios) < whole
    assert np.isfinite(ratios).all()


def test_confident_matches_weigh_more() -> None:
    result, matches, T_2_1 = answered(errors=EXACT)
    assert result.pts3d_1 is not None
    half = len(matches) // 3
    wrong = result.pts3d_1.copy()
    wrong.reshape(-1, 3)[matches.idx_1[half:]] *= 2.0
    sure = np.where(np.arange(len(matches)) < half, 100.0, 0.01).astype(np.float32)
    case = replace(result, pts3d_1=wrong), replace(matches, confidence=sure), T_2_1
    assert auto(case).factor == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize('rule', [ScaleRule.MODEL, ScaleRule.AUTO])
def test_without_a_calibrated_pair_the_model_s_own_unit_stands(rule: ScaleRule) -> None:
    for metric, source in ((True, ScaleSource.MODEL), (False, ScaleSource.NONE)):
        result, matches, _ = answered(metric=metric)
        scale = ScaleKeeper(rule).decide(result, None, matches)
        assert (scale.factor, scale.source) == (1.0, source)


def test_the_model_s_unit_can_be_asked_for_in_spite_of_a_baseline() -> None:
    result, matches, T_2_1 = answered(metric=True, scale=0.37)
    keeper = ScaleKeeper(ScaleRule.MODEL)
    assert keeper.decide(result, T_2_1, matches) == replace(
        Scale(1.0, ScaleSource.MODEL), spread=pytest.approx(float('nan'), nan_ok=True)
    )
    assert not keeper.needs_matches(ScaleSource.MODEL, T_2_1)


def test_no_scale_can_be_asked_for() -> None:
    result, matches, T_2_1 = answered(metric=True)
    keeper = ScaleKeeper(ScaleRule.NONE)
    assert keeper.decide(result, T_2_1, matches).source is ScaleSource.NONE
    assert not keeper.needs_matches(ScaleSource.MODEL, T_2_1)


def test_a_baseline_scale_without_a_baseline_is_refused_with_the_cure() -> None:
    result, matches, _ = answered()
    keeper = ScaleKeeper(ScaleRule.STEREO_BASELINE)
    with pytest.raises(InvalidInput, match=r'give both camera_infos with R and P'):
        keeper.decide(result, None, matches)
    with pytest.raises(InvalidInput, match='no calibrated baseline'):
        keeper.needs_matches(ScaleSource.NONE, None)


def test_an_engine_that_used_the_baseline_itself_needs_no_matches() -> None:
    result, _, T_2_1 = answered()
    measured = replace(result, scale_source=ScaleSource.STEREO_BASELINE)
    for rule in (ScaleRule.AUTO, ScaleRule.STEREO_BASELINE, ScaleRule.MODEL):
        keeper = ScaleKeeper(rule)
        assert not keeper.needs_matches(ScaleSource.STEREO_BASELINE, T_2_1)
        scale = keeper.decide(measured, T_2_1, None)
        assert (scale.factor, scale.source) == (1.0, ScaleSource.STEREO_BASELINE)


def test_what_is_triangulated_from_a_warp_is_in_the_baseline_s_metres_already() -> None:
    result, _, T_2_1 = answered(provides=Output.WARP)
    keeper = ScaleKeeper(ScaleRule.AUTO)
    scale = keeper.decide(result, T_2_1, None)
    assert (scale.factor, scale.source) == (1.0, ScaleSource.STEREO_BASELINE)
    assert keeper.held == 0
