# SPDX-License-Identifier: Apache-2.0
"""Points and matches lie where they belong, and a result says when, how and how long."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from support.answered_pair import SCENE, answered, oracle, processor, rig, stereo_pair, true_depth
from support.oracle_engine import EXACT, OracleEngine
from support.scene import placed, small_camera

from mast3r_ros.config import CloudConfig, ModelConfig
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import Product
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import View


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
