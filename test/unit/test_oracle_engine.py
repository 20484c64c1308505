# SPDX-License-Identifier: Apache-2.0
"""The instrument is held against the scene, and the steps every engine shares against it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from oracle_engine import EXACT, NETWORK_OUTPUTS, ErrorModel, OracleEngine
from scene import Scene, Shot, placed, small_camera, stereo_shots

from mast3r_ros.config import MatchingConfig
from mast3r_ros.core.geometry import transform
from mast3r_ros.core.results import InferenceResult, Output, ScaleSource
from mast3r_ros.errors import EngineFailed, InvalidInput

SCENE = Scene()
CLOUDS = Output.CLOUD_1 | Output.CLOUD_2


@cache
def shots() -> tuple[Shot, Shot]:
    """Two views apart, turned, and of different sizes."""
    small = SCENE.look(small_camera(120, 100), placed(0.3, 0.05, 0.1, 3.0))
    return SCENE.look(small_camera(160, 120)), small


def oracle(**options: object) -> OracleEngine:
    return OracleEngine(**options).register_shots(shots())


def answer(outputs: Output = Output.ALL, **options: object) -> InferenceResult:
    first, second = shots()
    return oracle(**options).infer(first.image, second.image, outputs=outputs)


def truth(shot: Shot, grid) -> np.ndarray:
    """Return the world points that a grid's pixels see."""
    u, v = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    uv = grid.to_image(np.stack([u, v], -1).reshape(-1, 2))
    points = SCENE.surface_at(shot.camera, shot.T_camera_world, uv)
    return points.reshape(grid.height, grid.width, 3)


def match_errors(matching: MatchingConfig | None = None, **options: object) -> np.ndarray:
    """Return how far each match is from the truth, in pixels of grid 2."""
    engine, result = oracle(**options), answer(**options)
    matches = engine.match_result(result, matching or MatchingConfig(subsample=3))
    uv_1 = result.grid_1.to_image(matches.pts2d_1)
    expected = result.grid_2.to_grid(SCENE.true_match(shots()[0], uv_1, shots()[1]))
    return np.linalg.norm(matches.pts2d_2 - expected, axis=1)


def test_exact_points_are_the_scene_s_in_the_frame_of_camera_1() -> None:
    result = answer(errors=EXACT)
    first, second = shots()
    for shot, grid, points in (
        (first, result.grid_1, result.pts3d_1),
        (second, result.grid_2, result.pts3d_2),
    ):
        expected = transform(first.T_camera_world, truth(shot, grid))
        assert points.dtype == np.float32
        np.testing.assert_allclose(points, expected, atol=2e-3)


@pytest.mark.parametrize('provides', [NETWORK_OUTPUTS, Output.WARP, CLOUDS])
def test_exact_matches_are_the_scene_s_to_the_pixel(provides: Output) -> None:
    errors = match_errors(errors=EXACT, provides=provides)
    assert len(errors) > 100
    assert errors.max() < 0.8  # half a pixel each way


def test_match_noise_is_about_a_pixel_along_each_axis() -> None:
    errors = match_errors(errors=replace(EXACT, match_px=1.0))
    assert 0.7 < np.sqrt((errors**2).mean() / 2) < 1.4


def test_one_match_in_ten_is_wrong() -> None:
    errors = match_errors(errors=replace(EXACT, wrong_matches=0.10))
    assert 0.06 < (errors > 5).mean() < 0.15
    assert (match_errors(errors=EXACT) < 5).all()


def test_depth_errors_are_3_percent_and_smooth() -> None:
    exact, rough = answer(errors=EXACT), answer(errors=replace(EXACT, depth=0.03))
    error = np.log(rough.pts3d_1[..., 2] / exact.pts3d_1[..., 2])
    assert error.std() == pytest.approx(0.03, rel=0.05)
    assert np.abs(np.diff(error, axis=1)).mean() < 0.003


def test_scale_and_focal_errors_differ_from_pair_to_pair_by_5_and_2_percent() -> None:
    exact = answer(errors=EXACT).pts3d_1
    scales, focals = [], []
    for seed in range(60):
        points = answer(Output.CLOUD_1, errors=ErrorModel(0, 0.05, 0.02, 0, 0), seed=seed).pts3d_1
        scale = np.median(points[..., 2] / exact[..., 2])
        scales.append(np.log(scale))
        focals.append(np.log(np.median(points[..., 0] / exact[..., 0]) / scale))
    assert np.std(scales) == pytest.approx(0.05, rel=0.35)
    assert np.std(focals) == pytest.approx(0.02, rel=0.35)


def test_a_scale_factor_shrinks_everything_about_camera_1() -> None:
    exact, small = answer(errors=EXACT), answer(errors=EXACT, scale=0.37)
    np.testing.assert_allclose(small.pts3d_1, 0.37 * exact.pts3d_1, rtol=1e-5)
    np.testing.assert_allclose(small.pts3d_2, 0.37 * exact.pts3d_2, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ('metric', 'source'), [(True, ScaleSource.MODEL), (False, ScaleSource.NONE)]
)
def test_it_claims_the_unit_it_is_told_to(metric: bool, source: ScaleSource) -> None:
    assert answer(metric=metric).scale_source is source
    assert oracle(metric=metric).scale_source(None) is source


@pytest.mark.parametrize('outputs', [Output.CLOUD_1, Output.CLOUD_2, Output.DESC, CLOUDS])
def test_only_what_is_asked_for_is_given(outputs: Output) -> None:
    result = answer(outputs)
    assert (result.pts3d_1 is not None) == (result.conf_1 is not None)
    assert (result.pts3d_1 is not None) == bool(outputs & Output.CLOUD_1)
    assert (result.pts3d_2 is not None) == bool(outputs & Output.CLOUD_2)
    assert (result.desc_1 is not None) == bool(outputs & Output.DESC)
    assert result.warp_1_2 is None


def test_what_is_given_does_not_depend_on_what_else_is_asked_for() -> None:
    whole, part = answer(), answer(Output.CLOUD_2)
    np.testing.assert_array_equal(whole.pts3d_2, part.pts3d_2)


def test_an_oracle_of_warps_gives_nothing_else() -> None:
    result = answer(provides=Output.WARP)
    assert result.pts3d_1 is None
    assert result.desc_1 is None
    assert result.warp_1_2.shape == (*result.grid_1.image.shape[:2], 2)
    assert result.warp_2_1.shape == (*result.grid_2.image.shape[:2], 2)
    hidden = np.isnan(result.warp_1_2).any(axis=2)
    assert 0 < hidden.mean() < 0.5
    assert (result.warp_conf_1[hidden] == 0).all()


def test_confidence_is_high_where_both_views_see_and_the_depth_is_right() -> None:
    result = answer()
    unseen = np.isnan(answer(provides=Output.WARP, errors=EXACT).warp_1_2).any(axis=2)
    assert result.conf_1.min() >= 1.0
    assert result.conf_1[~unseen].mean() > 2 * result.conf_1[unseen].mean()
    assert result.desc_conf_1.min() > 0.0


def test_descriptors_have_unit_length() -> None:
    result = answer()
    for desc in (result.desc_1, result.desc_2):
        np.testing.assert_allclose(np.linalg.norm(desc, axis=2), 1.0, atol=1e-5)


def test_a_seed_decides_everything_whatever_was_asked_before() -> None:
    first, second = shots()
    engine = oracle(seed=3)
    engine.infer(second.image, first.image)
    late, fresh, other = engine.infer(first.image, second.image), answer(seed=3), answer(seed=4)
    for name in ('pts3d_1', 'conf_2', 'desc_1', 'desc_conf_2'):
        np.testing.assert_array_equal(getattr(late, name), getattr(fresh, name))
        assert (getattr(other, name) != getattr(fresh, name)).any()


def test_it_remembers_what_it_was_asked() -> None:
    engine = oracle()
    first, second = shots()
    engine.infer(first.image, second.image, outputs=Output.DESC)
    assert engine.asked == [Output.DESC]
    assert len(engine.encoded) == 2


def test_depth_that_is_unknown_gives_points_that_are_nan() -> None:
    first, second = shots()
    engine = oracle(errors=EXACT)
    holes = first.depth.copy()
    holes[:40] = 0.0
    engine.register(first.image, holes, first.camera, first.T_camera_world)
    result = engine.infer(first.image, second.image)
    assert np.isnan(result.pts3d_1[:20]).all()
    assert np.isfinite(result.pts3d_1[-20:]).all()
    assert (result.conf_1[:20] == 1.0).all()


def test_a_picture_it_was_not_told_about_is_refused() -> None:
    with pytest.raises(InvalidInput, match='register it first'):
        oracle().infer(np.zeros((100, 100, 3), np.uint8), shots()[0].image)


def test_features_that_were_released_are_of_no_use() -> None:
    engine = oracle()
    features = engine.encode([engine.prepare(shot.view()) for shot in shots()])
    features[1].release()
    with pytest.raises(EngineFailed, match='released'):
        engine.decode([(features[0], features[1], None)], Output.ALL)


def test_global_descriptors_of_near_places_are_alike() -> None:
    here, near, far = (SCENE.look(small_camera(), placed(x, 0.0, 0.0)) for x in (0.0, 0.05, 4.0))
    engine = OracleEngine().register_shots([here, near, far])
    features = engine.encode([engine.prepare(shot.view()) for shot in (here, near, far)])
    unit = [item.global_descriptor() for item in features]
    np.testing.assert_allclose([np.linalg.norm(vector) for vector in unit], 1.0, atol=1e-5)
    assert unit[0] @ unit[1] > 0.95 > unit[0] @ unit[2]
    assert all(item.nbytes > 0 for item in features)


def test_infer_names_the_steps_it_took_and_releases_what_it_encoded() -> None:
    engine = oracle()
    result = engine.infer(shots()[0].image, shots()[1].image)
    assert {'preprocess', 'encode', 'decode'} <= set(result.timing_ms)
    assert all(item.released for item in engine.features)


def test_infer_takes_cameras_and_masks_along() -> None:
    first, second = shots()
    mask = np.ones(first.image.shape[:2], np.uint8)
    mask[:60] = 0
    engine = oracle()
    result = engine.infer(
        first.image, second.image, cameras=(first.camera, None), masks=(mask, None)
    )
    assert result.grid_1.camera is not None
    assert result.grid_2.camera is None
    assert not result.grid_1.mask[: result.grid_1.height // 2 - 1].any()
    assert result.grid_2.mask is None


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'cameras': (None,)}, 'cameras has 1 entries; give'),
        ({'cameras': (None, None, np.eye(3))}, 'T_2_1 has 9 numbers'),
        ({'masks': (None, None, None)}, 'masks has 3 entries; give'),
        ({'masks': (np.ones((5, 5), bool), None)}, r'mask has shape \(5, 5\)'),
    ],
)
def test_infer_refuses_what_cannot_be_meant(options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        oracle().infer(shots()[0].image, shots()[1].image, **options)


def test_match_takes_plain_descriptor_maps() -> None:
    engine, result = oracle(errors=EXACT), answer(errors=EXACT)
    by_map = engine.match(result.desc_1, result.desc_2, result.desc_conf_1, result.desc_conf_2)
    whole = engine.match_result(result)
    np.testing.assert_array_equal(by_map.pts2d_2, whole.pts2d_2)
    assert by_map.confidence_kind == whole.confidence_kind == 'desc_conf'
    assert engine.match(result.desc_1, result.desc_2).confidence_kind == 'similarity'


def test_leaving_a_with_block_closes_the_engine_even_after_an_error() -> None:
    engine = oracle()
    with pytest.raises(KeyError), engine:
        raise KeyError('in the block')
    assert engine.closed


def test_a_stereo_pair_of_the_scene_is_calibrated() -> None:
    left, right = stereo_shots(SCENE)
    assert left.camera.P[0, 3] == 0.0
    assert right.camera.P[0, 3] == pytest.approx(-right.camera.fx * 0.3)
