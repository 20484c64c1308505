# SPDX-License-Identifier: Apache-2.0
"""Pairs that can show nothing get an empty, explained answer: no exception, no invented depth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from support.textured_scene import Scene, pose

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.results import InferenceResult, Output
from mast3r_ros.core.views import ImageArray
from mast3r_ros.engines.geometric.engine import GeometricEngine

WIDTH, HEIGHT = 320, 240
PINHOLE = Camera.pinhole(WIDTH, HEIGHT, 300, 300, 159.5, 119.5)
SHIFTED = Camera.pinhole(WIDTH, HEIGHT, 300, 300, 189.5, 119.5)
BENT = Camera.pinhole(WIDTH, HEIGHT, 300, 300, 158.0, 121.0, (-0.28, 0.07, 0.0002, 0.0, 0.0))
BESIDE = pose((0.1, 0.0, 0.0))

WAYS: dict[str, Any] = {
    'rectified': (PINHOLE, PINHOLE, BESIDE),
    'rectified, shifted': (PINHOLE, SHIFTED, BESIDE),
    'distorted': (BENT, BENT, BESIDE),
    'one before the other': (PINHOLE, PINHOLE, pose((0.0, 0.0, 0.3))),
    'unknown motion': (PINHOLE, PINHOLE),
    'nothing known': None,
}


def flat(level: int) -> ImageArray:
    return np.full((HEIGHT, WIDTH, 3), level, np.uint8)


def textured(seed: int = 0) -> ImageArray:
    return Scene(seed=seed).picture(PINHOLE, np.eye(4))


def noise(seed: int, sigma: float, base: ImageArray | None = None) -> ImageArray:
    """Grey noise that no two pictures share."""
    levels = np.random.default_rng(seed).normal(0.0, sigma, (HEIGHT, WIDTH, 1))
    below = flat(127) if base is None else base
    return np.clip(np.rint(below + levels), 0, 255).astype(np.uint8)


def ramp() -> ImageArray:
    row = np.linspace(0, 255, WIDTH).astype(np.uint8)
    return np.broadcast_to(row[None, :, None], (HEIGHT, WIDTH, 3)).copy()


PAIRS = {
    'black': (flat(0), flat(0), 'blank'),
    'white': (flat(255), flat(255), 'blank'),
    'black and white': (flat(0), flat(255), 'blank'),
    'view 1 blank': (flat(90), textured(), 'view 1 is blank'),
    'view 2 blank': (textured(), flat(90), 'view 2 is blank'),
    'the same picture': (textured(), textured(), 'very same picture'),
    'strong noise': (noise(1, 40.0), noise(2, 40.0), 'hardly any pixel'),
    'weak noise': (noise(3, 2.0), noise(4, 2.0), 'hardly any pixel'),
}


def assert_empty(result: InferenceResult) -> None:
    for points, conf in (
        (result.pts3d_1, result.conf_1),
        (result.pts3d_2, result.conf_2),
    ):
        assert points is not None
        assert conf is not None
        assert not np.isfinite(points).any()
        assert (conf == 1.0).all()
    assert result.warp_1_2 is not None
    assert result.warp_2_1 is not None
    assert not np.isfinite(result.warp_1_2).any()
    assert not np.isfinite(result.warp_2_1).any()
    assert result.warp_conf_1 is not None
    assert not result.warp_conf_1.any()


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('pair', PAIRS)
def test_nothing_to_see_gives_an_empty_answer_and_says_why(pair: str, way: str) -> None:
    image_1, image_2, reason = PAIRS[pair]
    with GeometricEngine() as engine:
        result = engine.infer(image_1, image_2, cameras=WAYS[way])
        matches = engine.match_result(result)
    assert_empty(result)
    assert any(reason in note for note in result.notes)
    assert len(matches) == 0


@pytest.mark.parametrize('way', ['rectified', 'distorted', 'unknown motion'])
def test_a_still_camera_sees_matches_but_no_depth(way: str) -> None:
    still = textured()
    with GeometricEngine() as engine:
        result = engine.infer(noise(1, 1.5, still), noise(2, 1.5, still), cameras=WAYS[way])
    assert result.pts3d_1 is not None
    assert result.conf_1 is not None
    assert np.isfinite(result.pts3d_1[..., 2]).mean() < 0.01
    assert np.mean(result.conf_1 > 1.5) < 0.01
    assert result.notes or np.isfinite(result.pts3d_1).any()
    assert result.warp_1_2 is not None
    u, v = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    away = np.linalg.norm(result.warp_1_2 - np.stack([u, v], -1), axis=2)
    assert np.nanmedian(away) < 0.2


@pytest.mark.parametrize('way', WAYS)
def test_a_smooth_ramp_invents_no_confident_depth(way: str) -> None:
    with GeometricEngine() as engine:
        result = engine.infer(ramp(), ramp()[:, ::-1].copy(), cameras=WAYS[way])
    assert result.conf_1 is not None
    assert np.mean(result.conf_1 > 1.5) < 0.02


def test_flat_walls_beside_texture_get_no_confident_depth() -> None:
    image_1 = Scene().picture(PINHOLE, np.eye(4))
    image_2 = Scene().picture(PINHOLE, BESIDE)
    for image in (image_1, image_2):
        image[:, 160:] = 128
    with GeometricEngine() as engine:
        result = engine.infer(image_1, image_2, cameras=WAYS['rectified'])
    assert result.pts3d_1 is not None
    assert result.conf_1 is not None
    assert np.isfinite(result.pts3d_1[:, 40:140]).mean() > 0.9
    assert not np.isfinite(result.pts3d_1[:, 180:]).any()
    assert (result.conf_1[:, 180:] == 1.0).all()


@pytest.mark.parametrize('way', WAYS)
def test_chance_matches_of_different_things_get_no_confidence(way: str) -> None:
    with GeometricEngine() as engine:
        result = engine.infer(textured(0), textured(5), cameras=WAYS[way])
    assert result.pts3d_1 is not None
    assert result.conf_1 is not None
    assert np.isfinite(result.pts3d_1[..., 2]).mean() < 0.1
    assert np.mean(result.conf_1 > 1.5) < 0.01


def test_cameras_that_look_away_from_each_other_share_no_depth() -> None:
    T_2_1 = pose((0.1, 0.0, 0.0), (0.0, 180.0, 0.0))
    with GeometricEngine() as engine:
        result = engine.infer(textured(0), textured(5), cameras=(PINHOLE, PINHOLE, T_2_1))
    assert result.pts3d_1 is not None
    assert not np.isfinite(result.pts3d_1).any()
    assert result.notes


SIZES = st.tuples(st.integers(1, 70), st.integers(1, 70))


@settings(max_examples=40)
@given(
    size_1=SIZES,
    size_2=SIZES,
    seed=st.integers(0, 2**16),
    knows=st.sampled_from(['nothing', 'cameras', 'pose', 'pose and lens']),
    center=st.tuples(*[st.floats(-0.3, 0.3)] * 3),
    angles=st.tuples(*[st.floats(-180.0, 180.0)] * 3),
    smooth=st.booleans(),
)
def test_no_pair_of_pictures_raises(
    size_1: tuple[int, int],
    size_2: tuple[int, int],
    seed: int,
    knows: str,
    center: tuple[float, float, float],
    angles: tuple[float, float, float],
    smooth: bool,
) -> None:
    center = (center[0] + 0.4, center[1], center[2])
    images, cameras = [], []
    for number, (width, height) in enumerate((size_1, size_2)):
        rng = np.random.default_rng(seed + number * (not smooth))
        images.append(rng.integers(0, 256, (height, width, 3), np.uint8))
        lens = (-0.2, 0.05, 0.0, 0.0) if knows == 'pose and lens' else ()
        cameras.append(Camera.pinhole(width, height, 40.0, 42.0, width / 2, height / 2, lens))
    known: Any = {'nothing': None, 'cameras': tuple(cameras)}.get(
        knows, (*cameras, pose(center, angles))
    )
    with GeometricEngine() as engine:
        result = engine.infer(images[0], images[1], cameras=known)
        engine.match_result(result)
    assert result.pts3d_1 is not None
    assert result.pts3d_1.shape == (*images[0].shape[:2], 3)
    assert result.pts3d_2 is not None
    assert result.pts3d_2.shape == (*images[1].shape[:2], 3)
    assert result.conf_1 is not None
    assert result.conf_1.min() >= 1.0
    assert result.notes or np.isfinite(result.pts3d_1).any() or np.isfinite(result.pts3d_2).any()


@settings(max_examples=15)
@given(pixels=arrays(np.uint8, (2, 40, 56, 3)))
def test_any_pixels_give_finite_confidence(pixels: ImageArray) -> None:
    camera = Camera.pinhole(56, 40, 50.0, 50.0, 27.5, 19.5)
    with GeometricEngine() as engine:
        result = engine.infer(
            pixels[0], pixels[1], cameras=(camera, camera, BESIDE), outputs=Output.CLOUD_1
        )
    assert result.conf_1 is not None
    assert result.pts3d_1 is not None
    assert np.isfinite(result.conf_1).all()
    known = np.isfinite(result.pts3d_1).all(axis=2)
    assert (result.pts3d_1[..., 2][known] > 0.0).all()
