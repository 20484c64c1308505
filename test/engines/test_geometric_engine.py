# SPDX-License-Identifier: Apache-2.0
"""The geometric engine keeps the contract of every engine: sizes, cancelling, releasing, words."""

from __future__ import annotations

import threading
from typing import Any

import cv2
import numpy as np
import pytest
from support.textured_scene import Scene, pose

from mast3r_ros.config import (
    BackendType,
    MASt3RRuntimeConfig,
    ModelConfig,
    RuntimeConfig,
)
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.engine import Features
from mast3r_ros.core.results import FloatArray, Output
from mast3r_ros.core.views import Grid, View
from mast3r_ros.engines.geometric import engine as engine_module
from mast3r_ros.engines.geometric.engine import GeometricEngine
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.errors import EngineCancelled, InvalidInput

PINHOLE = Camera.pinhole(320, 240, 300, 300, 159.5, 119.5)
BESIDE = pose((0.1, 0.0, 0.0))


@pytest.fixture(scope='module')
def views() -> tuple[View, View]:
    scene = Scene()
    return (
        View(scene.picture(PINHOLE, np.eye(4)), PINHOLE),
        View(scene.picture(PINHOLE, BESIDE), PINHOLE),
    )


def test_it_is_had_by_name() -> None:
    config = MASt3RRuntimeConfig(runtime=RuntimeConfig(backend=BackendType.GEOMETRIC))
    with get_runtime(config) as engine:
        assert isinstance(engine, GeometricEngine)
        assert engine.provides == Output.CLOUD_1 | Output.CLOUD_2 | Output.WARP
        assert engine.describe().versions['opencv'] == cv2.__version__


def test_images_are_taken_as_they_are(views: tuple[View, View]) -> None:
    with GeometricEngine() as engine:
        grid = engine.prepare(views[0])
    assert grid.image is views[0].image
    assert grid.camera is PINHOLE
    assert (grid.scale, grid.offset) == ((1.0, 1.0), (0.0, 0.0))


@pytest.mark.parametrize(
    ('model', 'size'),
    [
        (ModelConfig(resolution=160), (160, 120)),
        (ModelConfig(resolution=640), (320, 240)),
        (ModelConfig(shape=(96, 160)), (160, 96)),
    ],
)
def test_a_named_size_is_kept_to_and_larger_images_shrink(
    views: tuple[View, View], model: ModelConfig, size: tuple[int, int]
) -> None:
    with GeometricEngine(MASt3RRuntimeConfig(model=model)) as engine:
        result = engine.infer_views(*views, BESIDE, Output.CLOUD_1)
    grid = result.grid_1
    assert (grid.width, grid.height) == size
    truth = Scene().depth(PINHOLE, np.eye(4))
    u, v = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    column, row = np.rint(grid.to_image(np.stack([u, v], -1))).astype(int).transpose(2, 0, 1)
    assert result.pts3d_1 is not None
    found = result.pts3d_1[..., 2]
    known = np.isfinite(found)
    assert known.mean() > 0.8
    assert np.median(np.abs(found[known] / truth[row, column][known] - 1.0)) < 0.01


def test_a_calibrated_pair_is_rectified_once(
    views: tuple[View, View], monkeypatch: pytest.MonkeyPatch
) -> None:
    built = []
    build = engine_module.build_rig

    def counted(*arguments: Any) -> Any:
        built.append(arguments)
        return build(*arguments)

    monkeypatch.setattr(engine_module, 'build_rig', counted)
    with GeometricEngine() as engine:
        for _ in range(3):
            twin = Camera.pinhole(320, 240, 300, 300, 159.5, 119.5)  # as from a new message
            engine.infer(views[0].image, views[1].image, cameras=(twin, twin, BESIDE))
        assert len(built) == 1
        other = Camera.pinhole(320, 240, 310, 310, 159.5, 119.5)
        engine.infer(views[0].image, views[1].image, cameras=(other, other, BESIDE))
        assert len(built) == 2


def test_a_running_call_ends_when_it_is_cancelled(
    views: tuple[View, View], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, go_on = threading.Event(), threading.Event()
    solve = engine_module.solve_stereo

    def held(*arguments: Any) -> Any:
        running.set()
        assert go_on.wait(10.0)
        return solve(*arguments)

    monkeypatch.setattr(engine_module, 'solve_stereo', held)
    errors: list[BaseException] = []

    def call() -> None:
        try:
            engine.infer_views(*views, BESIDE)
        except EngineCancelled as error:
            errors.append(error)

    with GeometricEngine() as engine:
        thread = threading.Thread(target=call)
        thread.start()
        assert running.wait(10.0)
        engine.cancel()
        go_on.set()
        thread.join(10.0)
        assert not thread.is_alive()
        assert len(errors) == 1
        again = engine.infer_views(*views, BESIDE, Output.CLOUD_1)
        assert again.pts3d_1 is not None
        assert np.isfinite(again.pts3d_1).any()


def test_features_serve_many_pairs_and_can_be_released(views: tuple[View, View]) -> None:
    with GeometricEngine() as engine:
        one, two = engine.encode([engine.prepare(view) for view in views])
        assert one.nbytes == 320 * 240
        first, second = engine.decode([(one, two, BESIDE), (two, one, None)], Output.CLOUD_1)
        assert first.pts3d_1 is not None
        assert second.grid_1 is two.grid
        one.release()
        assert one.nbytes == 0
        with pytest.raises(InvalidInput, match='released'):
            engine.decode([(one, two, BESIDE)], Output.CLOUD_1)


def test_global_descriptor_is_alike_for_alike_places() -> None:
    near = Camera.pinhole(160, 120, 150, 150, 79.5, 59.5)
    grids = [
        Grid(Scene(seed=seed).picture(near, pose((step, 0.0, 0.0))))
        for seed, step in ((0, 0.0), (0, 0.02), (9, 0.0))
    ]
    grids.append(Grid(np.zeros((120, 160, 3), np.uint8)))
    with GeometricEngine() as engine:
        here, beside, elsewhere, dark = (
            features.global_descriptor() for features in engine.encode(grids)
        )
    for descriptor in (here, beside, elsewhere, dark):
        assert np.linalg.norm(descriptor) == pytest.approx(1.0, abs=1e-5)
    assert here @ beside > here @ elsewhere


class Foreign(Features):
    """Features of some other engine."""

    @property
    def nbytes(self) -> int:
        return 0

    def global_descriptor(self) -> FloatArray:
        return np.ones(1, np.float32)


def test_features_of_another_engine_are_refused(views: tuple[View, View]) -> None:
    with GeometricEngine() as engine:
        (own,) = engine.encode([engine.prepare(views[0])])
        foreign = Foreign(own.grid, 'some network')
        with pytest.raises(InvalidInput, match="'some network'"):
            engine.decode([(own, foreign, None)], Output.WARP)


def test_a_zero_baseline_is_refused_with_words(views: tuple[View, View]) -> None:
    with GeometricEngine() as engine, pytest.raises(InvalidInput, match='baseline'):
        engine.infer_views(*views, np.eye(4))


def test_a_pose_without_cameras_is_not_used_and_that_is_said(views: tuple[View, View]) -> None:
    with GeometricEngine() as engine:
        result = engine.infer_views(View(views[0].image), View(views[1].image), BESIDE)
    assert 'T_2_1 is given without both cameras' in result.notes[0]


def test_stages_are_timed(views: tuple[View, View]) -> None:
    with GeometricEngine() as engine:
        stereo = engine.infer_views(*views, BESIDE).timing_ms
        motion = engine.infer_views(*views).timing_ms
    assert {'preprocess', 'encode', 'decode', 'rectify', 'disparity', 'lift'} <= stereo.keys()
    assert {'preprocess', 'encode', 'decode', 'flow', 'motion'} <= motion.keys()
    assert all(spent >= 0.0 for spent in (*stereo.values(), *motion.values()))
