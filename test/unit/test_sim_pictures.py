# SPDX-License-Identifier: Apache-2.0
"""The simulator's pictures: fit for stereo matching, the same in both eyes, sane at edges."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
import pytest

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.poses import stereo_pose
from mast3r_ros.errors import ConfigError, InvalidInput
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.flight import Flight
from mast3r_ros.sim.mipmaps import MipAtlas
from mast3r_ros.sim.render import Renderer, render
from mast3r_ros.sim.rendering import Pair, PairRenderer
from mast3r_ros.sim.scene import Scene
from mast3r_ros.sim.visibility import at_borders


@cache
def scene() -> Scene:
    return Scene.make(1, 16.0, texture_pixels=512)


@cache
def pair(index: int, **settings: object) -> Pair:
    return PairRenderer(SimConfig(**settings), scene()).render(index)


def seen_by_both(rendered: Pair, disparity: np.ndarray) -> np.ndarray:
    """Return which pixels of the left picture the right one shows as well."""
    left, right = (side.truth.numbers() for side in rendered.sides)
    v, u = np.indices(left.shape)
    at = np.rint(u - disparity).astype(int)
    return (at >= 0) & (right[v, np.maximum(at, 0)] == left)


def disparity_of(rendered: Pair, config: SimConfig) -> np.ndarray:
    depth = rendered.sides[0].depth
    return config.cameras()[0].fx * config.baseline_m / np.where(np.isnan(depth), 1e6, depth)


def warped_difference(rendered: Pair, disparity: np.ndarray) -> np.ndarray:
    """Return |left - right at the place of the left's pixels| as (H, W)."""
    v, u = np.indices(disparity.shape).astype(np.float32)
    left, right = (side.image for side in rendered.sides)
    warped = cv2.remap(right, (u - disparity).astype(np.float32), v, cv2.INTER_CUBIC)
    return np.abs(warped.astype(int) - left).mean(axis=2)


@pytest.mark.parametrize('index', [0, 90, 170])
def test_the_right_picture_at_the_true_depth_is_the_left_one(index):
    rendered, config = pair(index, noise=0.0), SimConfig(noise=0.0)
    disparity = disparity_of(rendered, config)
    both = seen_by_both(rendered, disparity)
    assert both.mean() > 0.8
    difference = warped_difference(rendered, disparity)[both]
    assert np.median(difference) < 1.5
    assert np.percentile(difference, 90) < 5.0


def test_no_part_of_a_pixel_lies_between_truth_and_pictures():
    rendered, config = pair(90, noise=0.0), SimConfig(noise=0.0)
    disparity = disparity_of(rendered, config)
    both = seen_by_both(rendered, disparity)
    shifts = np.array([-0.2, -0.1, 0.0, 0.1, 0.2])
    errors = [np.mean(warped_difference(rendered, disparity + shift)[both]) for shift in shifts]
    a, b, _ = np.polyfit(shifts, errors, 2)
    assert abs(-b / (2.0 * a)) < 0.03  # pixels, the bottom of the parabola


@pytest.mark.parametrize('index', [30, 200])
def test_a_standard_stereo_matcher_finds_the_true_depth(index):
    config = SimConfig()
    rendered = pair(index)
    matcher = cv2.StereoSGBM_create(0, 64, 5, P1=600, P2=2400, uniquenessRatio=10, disp12MaxDiff=1)
    found = matcher.compute(rendered.sides[0].image, rendered.sides[1].image) / 16.0
    depth = rendered.sides[0].depth
    good = (found > 0.0) & np.isfinite(depth)
    assert good.mean() > 0.6
    measured = config.cameras()[0].fx * config.baseline_m / found[good]
    assert np.median(np.abs(measured - depth[good]) / depth[good]) < 0.03


def test_textures_have_contrast_near_and_far():
    rendered = pair(90, noise=0.0).sides[0]
    grey = cv2.cvtColor(rendered.image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mean = cv2.blur(grey, (9, 9))
    deviation = np.sqrt(np.maximum(cv2.blur(grey * grey, (9, 9)) - mean * mean, 0.0))
    for low, high in ((2.0, 4.0), (4.0, 7.0), (7.0, 13.0)):
        part = (rendered.depth > low) & (rendered.depth < high)
        assert np.percentile(deviation[part], 20) > 2.0, (low, high)


def test_edges_are_smoothed_as_by_a_sensor():
    camera = SimConfig(width=320, height=240).cameras()[0]
    T = Flight().pose(2.0)
    coarse = render(scene(), camera, T, 2.0)
    fine = render(scene(), camera.on_grid((4.0, 4.0), (0.0, 0.0), 1280, 960), T, 2.0).image
    reference = cv2.resize(fine, (320, 240), interpolation=cv2.INTER_AREA).astype(int)
    surfaces = scene().facets(2.0).surface[coarse.truth.numbers()]
    edge = at_borders(surfaces)
    smooth = np.abs(coarse.image - reference)[edge].mean()
    jagged = np.abs(fine[2::4, 2::4].astype(int) - reference)[edge].mean()
    assert edge.mean() > 0.005
    assert smooth < 0.6 * jagged


def test_the_same_seed_gives_the_same_bytes():
    config = SimConfig(width=96, height=64, seed=5, duration_s=2.0)
    first, again = (
        PairRenderer(config, Scene.make(5, 2.0, texture_pixels=64)).render(7) for _ in range(2)
    )
    for one, other in zip(first.sides, again.sides, strict=True):
        assert one.image.tobytes() == other.image.tobytes()
        assert one.depth.tobytes() == other.depth.tobytes()


def test_another_seed_gives_another_world():
    camera = SimConfig(width=96, height=64).cameras()[0]
    other = Scene.make(6, 16.0, texture_pixels=64)
    images = [render(world, camera, Flight().pose(0.0), 0.0).image for world in (scene(), other)]
    assert np.abs(images[0].astype(int) - images[1]).mean() > 10.0


def test_noise_is_as_strong_as_asked_for_and_different_in_each_picture():
    camera, facets = SimConfig().cameras()[0], scene().facets(0.0)
    noisy = Renderer(scene(), camera, noise=3.0)
    clean = noisy.render(facets, Flight().pose(0.0)).image.astype(int)
    noises = [
        noisy.render(facets, Flight().pose(0.0), np.random.default_rng(seed)).image - clean
        for seed in (0, 1)
    ]
    grey = (clean > 20) & (clean < 235)  # away from where values are cut off
    assert abs(noises[0][grey].std() - 3.0) < 0.1
    assert abs(np.corrcoef(noises[0][grey], noises[1][grey])[0, 1]) < 0.02


def test_raw_pictures_rectified_by_their_calibration_are_the_rectified_ones():
    straight, bent = pair(40, noise=0.0), pair(40, noise=0.0, raw=True)
    for side, camera in enumerate(SimConfig(raw=True).cameras()):
        new = camera.P[:, :3]
        maps = cv2.initUndistortRectifyMap(
            camera.K, np.array(camera.distortion), camera.R, new, (640, 480), cv2.CV_32FC1
        )
        rectified = cv2.remap(bent.sides[side].image, *maps, cv2.INTER_CUBIC)
        inside = cv2.remap(np.full((480, 640), 255, np.uint8), *maps, cv2.INTER_LINEAR) == 255
        assert inside.mean() > 0.7
        difference = np.abs(rectified.astype(int) - straight.sides[side].image)[inside]
        assert np.median(difference) <= 2.0
        assert np.percentile(difference, 90) < 8.0


def test_cameras_carry_baseline_and_rectification():
    for raw in (False, True):
        config = SimConfig(raw=raw, baseline_m=0.2)
        left, right = config.cameras()
        T_right_left = stereo_pose(left, right)
        assert np.linalg.norm(T_right_left[:3, 3]) == pytest.approx(0.2)
        assert left.is_distorted is raw
        assert right.P[0, 3] == pytest.approx(-right.P[0, 0] * 0.2)


def test_a_lens_that_cannot_be_inverted_is_refused():
    camera = Camera.pinhole(640, 480, 400.0, 400.0, 319.5, 239.5, (-0.9, 0.0, 0.0, 0.0))
    with pytest.raises(InvalidInput, match='no inverse'):
        Renderer(scene(), camera)


@pytest.mark.parametrize(
    ('setting', 'value'),
    [('width', 8), ('rate_hz', 0.0), ('baseline_m', -0.1), ('noise', float('nan')), ('seed', -1)],
)
def test_settings_out_of_range_are_named(setting, value):
    with pytest.raises(ConfigError, match=f'{setting} is .*; allowed is') as caught:
        SimConfig(**{setting: value})
    assert [name for name, _ in caught.value.problems] == [f'sim.{setting}']


def atlas() -> tuple[MipAtlas, np.ndarray]:
    rng = np.random.default_rng(0)
    tiles = rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    return MipAtlas(list(tiles)), tiles


def look_up(textures: MipAtlas, s: float, t: float, tile: int, level: float) -> np.ndarray:
    values = (np.array([value], np.float32) for value in (s, t, tile, level))
    return textures.look_up(*values)[0].astype(int)


def test_a_texture_gives_its_own_texels_back():
    textures, tiles = atlas()
    for tile, row, column in ((0, 0, 0), (1, 31, 5), (0, 17, 31)):
        got = look_up(textures, (column + 0.5) / 32, (row + 0.5) / 32, tile, 0.0)
        np.testing.assert_allclose(got, tiles[tile, row, column], atol=1)


def test_a_texture_repeats_without_a_seam():
    textures, tiles = atlas()
    seam = look_up(textures, 1.0, 0.5 / 32, 0, 0.0)
    between = tiles[0, 0, [0, 31]].astype(int).mean(axis=0)
    np.testing.assert_allclose(seam, between, atol=1.01)
    for shift in (-3.0, 2.0):
        same = look_up(textures, 0.3 + shift, 0.7 - shift, 1, 1.5)
        np.testing.assert_allclose(same, look_up(textures, 0.3, 0.7, 1, 1.5), atol=1)


def test_a_coarse_level_is_the_mean_of_the_texels_below():
    textures, tiles = atlas()
    block = tiles[1, 8:12, 4:8].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(look_up(textures, 6 / 32, 10 / 32, 1, 2.0), block, atol=2)
