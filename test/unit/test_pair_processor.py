# SPDX-License-Identifier: Apache-2.0
"""One pair is answered with no more work than is wanted, and its results lie where they belong."""

from __future__ import annotations

import gc
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from oracle_engine import EXACT, OracleEngine
from scene import Scene, Shot, placed, small_camera, stereo_shots, walk

from mast3r_ros.config import (
    CloudConfig,
    MatchingConfig,
    ModelConfig,
    PairingConfig,
    PipelineConfig,
    RuntimeConfig,
)
from mast3r_ros.core.pair_processor import PairProcessor
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.poses import stereo_pose
from mast3r_ros.core.products import PairResult, Product
from mast3r_ros.core.results import Output, ScaleSource
from mast3r_ros.core.views import View
from mast3r_ros.errors import EngineFailed, InvalidInput

SCENE = Scene()
CLOUDS = Output.CLOUD_1 | Output.CLOUD_2


@cache
def rig() -> tuple[Shot, Shot]:
    return stereo_shots(SCENE, width=200, height=150)


@cache
def strolled() -> list[Shot]:
    return walk(SCENE, 9, width=96)


def oracle(**options: object) -> OracleEngine:
    options.setdefault('errors', EXACT)
    model = ModelConfig(resolution=140)
    return OracleEngine(model, **options).register_shots([*rig(), *strolled()])


def stereo_pair(mask_1=None, mask_2=None, *, calibrated: bool = True) -> ViewPair:
    left, right = rig()
    pose = stereo_pose(left.camera, right.camera) if calibrated else None
    return ViewPair(left.view(mask=mask_1, stamp_ns=5), right.view(mask=mask_2, stamp_ns=5), pose)


def processor(stride: int | None = None, **groups: object) -> PairProcessor:
    pairing = {'mode': 'sequence', 'stride': stride} if stride else {}
    groups.setdefault('matching', MatchingConfig(subsample=4))
    return PairProcessor(PipelineConfig(pairing=PairingConfig(**pairing), **groups))


def answered(wanted: Product = Product.ALL, pair: ViewPair | None = None, **options) -> PairResult:
    groups = {name: options.pop(name) for name in ('cloud', 'matching') if name in options}
    return processor(**groups).process(oracle(**options), pair or stereo_pair(), wanted)


@pytest.mark.parametrize(
    ('wanted', 'calibrated', 'asked'),
    [
        (Product.CLOUD_1, False, Output.CLOUD_1),
        (Product.CLOUD_2, False, Output.CLOUD_2),
        (Product.CLOUD_1 | Product.CLOUD_2, False, CLOUDS),
        (Product.MATCHES, False, Output.DESC),
        (Product.MATCHES, True, Output.DESC),
        (Product.NOTHING, True, Output(0)),
        (Product.CLOUD_1, True, Output.CLOUD_1 | Output.DESC),  # the scale needs matches
        (Product.CLOUD_2, True, CLOUDS | Output.DESC),
        (Product.ALL, False, CLOUDS | Output.DESC),
    ],
)
def test_the_engine_is_asked_for_no_more_than_is_wanted(
    wanted: Product, calibrated: bool, asked: Output
) -> None:
    engine = oracle()
    result = processor().process(engine, stereo_pair(calibrated=calibrated), wanted)
    assert engine.asked == [asked]
    assert (result.cloud_1 is not None) == bool(wanted & Product.CLOUD_1)
    assert (result.cloud_2 is not None) == bool(wanted & Product.CLOUD_2)
    assert (result.matches is not None) == bool(wanted & Product.MATCHES)


def test_a_metric_cloud_alone_needs_no_matches_where_the_model_gives_the_metres() -> None:
    engine = oracle(metric=True)
    result = processor(cloud=CloudConfig(scale='model')).process(
        engine, stereo_pair(), Product.CLOUD_1
    )
    assert engine.asked == [Output.CLOUD_1]
    assert result.scale.source is ScaleSource.MODEL


def test_matches_alone_leave_the_scale_alone() -> None:
    one = processor()
    result = one.process(oracle(), stereo_pair(), Product.MATCHES)
    assert one.scale_keeper.held == 0
    assert result.scale.source is ScaleSource.NONE


def test_an_engine_of_clouds_alone_is_matched_by_its_clouds() -> None:
    engine = oracle(provides=CLOUDS)
    result = processor().process(engine, stereo_pair(calibrated=False), Product.MATCHES)
    assert engine.asked == [CLOUDS]
    assert len(result.matches) > 100


def test_a_warp_engine_s_cloud_comes_from_the_calibrated_cameras_in_metres() -> None:
    engine = oracle(provides=Output.WARP)
    one = processor()
    result = one.process(engine, stereo_pair(), Product.ALL)
    assert engine.asked == [Output.WARP]
    assert result.scale.source is ScaleSource.STEREO_BASELINE
    assert result.scale.factor == 1.0
    assert one.scale_keeper.held == 0
    assert result.cloud_2 is None
    truth = true_depth(result)
    seen = np.isfinite(result.cloud_1.depth)
    assert 0.6 < seen.mean() < 1.0
    np.testing.assert_allclose(result.cloud_1.depth[seen], truth[seen], rtol=1e-3)
    np.testing.assert_array_equal(result.cloud_1.confidence > 1, seen)


def test_a_cloud_alone_from_a_warp_engine_asks_for_the_warp() -> None:
    engine = oracle(provides=Output.WARP)
    result = processor().process(engine, stereo_pair(), Product.CLOUD_1)
    assert engine.asked == [Output.WARP]
    assert np.isfinite(result.cloud_1.depth).mean() > 0.6


def test_a_warp_engine_without_cameras_has_matches_but_no_cloud() -> None:
    left, right = rig()
    pair = ViewPair(View(left.image), View(right.image))
    result = answered(pair=pair, provides=Output.WARP)
    assert result.cloud_1 is None
    assert len(result.matches) > 100


def true_depth(result: PairResult) -> np.ndarray:
    """Return the scene's depth at the pixels of grid 1."""
    grid, left = result.cloud_1.grid, rig()[0]
    u, v = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    uv = grid.to_image(np.stack([u, v], -1).reshape(-1, 2))
    depth = SCENE.surface_at(left.camera, left.T_camera_world, uv)[:, 2]
    return depth.reshape(grid.height, grid.width)


def test_a_stereo_cloud_is_in_metres_whatever_the_engine_s_unit() -> None:
    result = answered(scale=0.37)
    assert result.scale.source is ScaleSource.STEREO_BASELINE
    np.testing.assert_allclose(result.cloud_1.depth, true_depth(result), rtol=0.01)


def test_matches_are_in_pixels_of_the_input_images() -> None:
    result = answered()
    left, right = rig()
    scale = result.cloud_1.grid.scale[0]
    expected = SCENE.true_match(left, result.matches.uv_1, right)
    errors = np.linalg.norm(result.matches.uv_2 - expected, axis=1)
    assert len(errors) > 200
    assert errors.max() < 0.8 / scale
    assert abs(np.median(result.matches.uv_2 - expected, axis=0)).max() < 0.2 / scale
    for uv in (result.matches.uv_1, result.matches.uv_2):
        assert uv.dtype == np.float32
        assert (uv >= -0.5).all()
        assert (uv <= (199.5, 149.5)).all()
    assert result.matches.uv_1[:, 0].max() > 150


def test_views_may_differ_in_size() -> None:
    left, _ = rig()
    other = SCENE.look(small_camera(120, 160), placed(0.2, 0.05, 0.0, 4.0))
    engine = oracle().register_shots([other])
    result = processor().process(engine, ViewPair(left.view(), other.view()), Product.ALL)
    true = SCENE.true_match(left, result.matches.uv_1, other)
    shared = ((true > 0) & (true < (119, 159))).all(axis=1)  # the others have no true match
    off = np.linalg.norm(result.matches.uv_2 - true, axis=1)[shared]
    assert shared.sum() > 100
    assert off.max() < 0.8 / result.cloud_2.grid.scale[0]
    assert result.cloud_1.points.shape[:2] == (98, 140)
    assert result.cloud_2.points.shape[:2] == (140, 98)


def test_each_match_carries_the_point_of_its_pixel() -> None:
    result = answered()
    points = result.matches.points
    uv = rig()[0].camera.project(points)
    np.testing.assert_allclose(uv, result.matches.uv_1, atol=0.05)
    assert answered(Product.MATCHES).matches.points is None


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


def test_points_on_rays_project_onto_their_own_pixels() -> None:
    rough = replace(EXACT, focal=0.1)
    on_rays = answered(errors=rough).cloud_1
    camera = on_rays.grid.camera
    u, v = np.meshgrid(np.arange(on_rays.grid.width), np.arange(on_rays.grid.height))
    pixels = np.stack([u, v], -1).reshape(-1, 2)
    np.testing.assert_allclose(camera.project(on_rays.points.reshape(-1, 3)), pixels, atol=1e-3)
    as_predicted = answered(errors=rough, cloud=CloudConfig(points='network')).cloud_1
    np.testing.assert_allclose(as_predicted.depth, on_rays.depth, rtol=1e-6)
    off = camera.project(as_predicted.points.reshape(-1, 3)) - pixels
    assert np.abs(off).max() > 1.0


def test_without_a_camera_points_stay_where_the_network_put_them() -> None:
    left, right = rig()
    pair = ViewPair(View(left.image), View(right.image))
    result = answered(pair=pair)
    np.testing.assert_allclose(result.cloud_1.depth, true_depth(result), rtol=2e-3)
    assert result.scale.source is ScaleSource.NONE


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


def test_a_result_carries_view_1_s_stamp_the_pose_and_every_stage_s_time() -> None:
    result = answered()
    assert result.stamp_ns == 5
    assert result.pair.view_1.image is rig()[0].image
    np.testing.assert_allclose(result.T_2_1[:3, 3], [-0.3, 0.0, 0.0])
    stages = {'preprocess', 'encode', 'decode', 'match', 'postprocess'}
    assert stages <= set(result.timing_ms)
    assert all(spent >= 0.0 for spent in result.timing_ms.values())
    assert result.engine.name == 'oracle'


def test_an_engine_s_notes_come_through() -> None:
    class Talkative(OracleEngine):
        def decode(self, pairs, outputs):
            return [replace(item, notes=('too dark',)) for item in super().decode(pairs, outputs)]

    engine = Talkative(ModelConfig(resolution=140)).register_shots(rig())
    assert processor().process(engine, stereo_pair(), Product.ALL).notes == ('too dark',)


@pytest.mark.parametrize('stride', [1, 2, 4])
def test_in_a_sequence_every_frame_is_encoded_once(stride: int) -> None:
    engine, one = oracle(), processor(stride)
    views = [shot.view(stamp_ns=number) for number, shot in enumerate(strolled(), 1)]
    for newer, older in zip(views[stride:], views, strict=False):
        one.process(engine, ViewPair(newer, older), Product.ALL)
    assert len(engine.encoded) == len(set(engine.encoded)) == len(views)
    assert not any(item.released for item in engine.features)  # each view may come again
    one.reset()
    assert all(item.released for item in engine.features)


def test_views_that_nobody_has_any_more_leave_nothing_behind() -> None:
    engine, one = oracle(), processor(1)
    views = [shot.view(stamp_ns=number) for number, shot in enumerate(strolled(), 1)]
    for newer in (1, 3, 4, 8):
        one.process(engine, ViewPair(views[newer], views[newer - 1]), Product.MATCHES)
    assert len(engine.encoded) == 7  # 0 1, 2 3, 4, 7 8
    del views[:-1]
    gc.collect()
    assert len([item for item in engine.features if not item.released]) == 1


def test_without_memory_for_features_none_are_kept() -> None:
    engine = oracle()
    one = processor(1, runtime=RuntimeConfig(features_memory_mb=0))
    views = [shot.view(stamp_ns=number) for number, shot in enumerate(strolled()[:3], 1)]
    for newer, older in zip(views[1:], views, strict=False):
        one.process(engine, ViewPair(newer, older), Product.MATCHES)
    assert len(engine.encoded) == 4
    assert all(item.released for item in engine.features)


def test_another_engine_starts_with_its_own_features() -> None:
    first, second, one = oracle(), oracle(), processor(1)
    views = [shot.view(stamp_ns=number) for number, shot in enumerate(strolled()[:3], 1)]
    one.process(first, ViewPair(views[1], views[0]), Product.MATCHES)
    one.process(second, ViewPair(views[2], views[1]), Product.MATCHES)
    assert len(second.encoded) == 2
    assert all(item.released for item in first.features)


def test_a_stereo_pair_leaves_no_features_behind() -> None:
    engine = oracle()
    processor().process(engine, stereo_pair(), Product.ALL)
    assert len(engine.features) == 2
    assert all(item.released for item in engine.features)


def test_a_pair_that_fails_in_the_engine_leaves_no_features_behind() -> None:
    class Broken(OracleEngine):
        def decode(self, pairs, outputs):
            raise EngineFailed('out of memory')

    engine = Broken(ModelConfig(resolution=140)).register_shots(rig())
    with pytest.raises(EngineFailed, match='out of memory'):
        processor().process(engine, stereo_pair(), Product.ALL)
    assert all(item.released for item in engine.features)


def test_a_baseline_scale_without_a_baseline_is_refused_before_any_work() -> None:
    engine = oracle()
    one = processor(cloud=CloudConfig(scale='stereo_baseline'))
    with pytest.raises(InvalidInput, match='no calibrated baseline'):
        one.process(engine, stereo_pair(calibrated=False), Product.CLOUD_1)
    assert engine.encoded == []


def test_few_matches_hold_the_scale_of_the_pair_before() -> None:
    engine, one = oracle(scale=0.37), processor()
    good = one.process(engine, stereo_pair(), Product.CLOUD_1)
    nothing = np.zeros((150, 200), bool)
    nothing[60:90, 90:120] = True
    held = one.process(engine, stereo_pair(nothing, None), Product.CLOUD_1)
    assert held.scale.factor == good.scale.factor
    assert held.scale.matches == 0
    assert one.scale_keeper.held == 1
    one.reset()
    assert one.process(engine, stereo_pair(nothing, None), Product.CLOUD_1).scale.factor == 1.0
