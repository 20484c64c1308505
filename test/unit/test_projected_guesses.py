# SPDX-License-Identifier: Apache-2.0
"""Where points say that a pixel lies in the other view, and what they cannot say."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.projected_guesses import projected_guesses
from mast3r_ros.core.results import InferenceResult
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import InvalidInput

WIDTH, HEIGHT = 120, 90
CAMERA = Camera.pinhole(WIDTH, HEIGHT, 100.0, 100.0, 59.5, 44.5)
BENT = Camera.pinhole(WIDTH, HEIGHT, 100.0, 100.0, 59.5, 44.5, (-0.25, 0.06, 0.001, 0.001))
STEP_M = 0.3  # view 2 stands to the right of view 1


def wall(camera=CAMERA, step_m=0.0, depth_m=3.0):
    """Return the points of a wall, a camera moved to the right sees, in the frame of camera 1."""
    return (camera.rays * np.float32(depth_m) + (np.float32(step_m), 0, 0)).astype(np.float32)


def result(points_1, points_2, camera=None):
    grids = [Grid(np.zeros((HEIGHT, WIDTH, 3), np.uint8), camera=one) for one in (camera, None)]
    return InferenceResult(*grids, pts3d_1=points_1, pts3d_2=points_2)


def pixels(places):
    """Return places as (height, width, 2)."""
    return places.T.reshape(HEIGHT, WIDTH, 2)


def own_pixels():
    return np.stack(np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT)), -1)


@pytest.mark.parametrize('source', ['points', 'camera', 'both'])
def test_a_wall_appears_moved_by_its_parallax_both_ways(source):
    points_1 = None if source == 'camera' else wall()
    guesses = projected_guesses(
        result(points_1, wall(step_m=STEP_M), None if source == 'points' else CAMERA), gap_px=4
    )
    parallax = np.array([100.0 * STEP_M / 3.0, 0.0])
    np.testing.assert_allclose(pixels(guesses.to_1), own_pixels() + parallax, atol=0.02)
    overlap = pixels(guesses.to_2)[:, 14:]
    expected = own_pixels()[:, 14:] - parallax
    np.testing.assert_allclose(overlap, expected, atol=0.02)
    assert np.isnan(pixels(guesses.to_2)[:, :5]).all()  # left of what view 2 sees


def test_a_distorted_image_is_followed_with_and_without_its_calibration():
    for camera in (None, BENT):
        points_1 = wall(BENT) if camera is None else None
        guesses = projected_guesses(result(points_1, wall(BENT, STEP_M), camera), gap_px=4)
        expected = BENT.project(wall(BENT, STEP_M).reshape(-1, 3))
        seen = ((expected >= 2) & (expected <= (WIDTH - 3, HEIGHT - 3))).all(axis=1)
        assert seen.mean() > 0.7
        np.testing.assert_allclose(guesses.to_1.T[seen], expected[seen], atol=1.0)


def test_the_network_s_own_focal_length_counts_before_the_calibrated_one():
    narrow = Camera.pinhole(WIDTH, HEIGHT, 115.0, 115.0, 59.5, 44.5)
    guesses = projected_guesses(result(wall(narrow), wall(narrow), CAMERA), gap_px=4)
    np.testing.assert_allclose(pixels(guesses.to_1), own_pixels(), atol=0.02)


def test_a_pixel_is_sought_where_the_nearer_of_two_points_is_from():
    points_2 = wall(depth_m=6.0)
    points_2[:, : WIDTH // 2] = wall(depth_m=2.0)[:, WIDTH // 2 :]  # the right half, seen twice
    guesses = projected_guesses(result(wall(), points_2), gap_px=0)
    assert (pixels(guesses.to_2)[:, WIDTH // 2 :, 0] < WIDTH // 2).all()


def test_holes_up_to_the_gap_are_filled_from_their_edge():
    points_2 = wall(step_m=STEP_M)
    points_2[20:60, 40:61] = np.nan
    places = pixels(projected_guesses(result(wall(), points_2), gap_px=4).to_1)
    inside = own_pixels() + np.array([100.0 * STEP_M / 3.0, 0.0])
    np.testing.assert_allclose(places[20:60, 40:44], inside[20:60, 40:44], atol=0.02)
    assert np.isnan(places[24:56, 45:56]).all()


@pytest.mark.parametrize('wrong', [np.nan, np.inf, -np.inf, 0.0, -3.0, 1e-38, 3e38])
def test_points_that_are_no_place_in_front_make_no_guess_and_no_warning(wrong):
    points_1, points_2 = wall(), wall(step_m=STEP_M)
    points_1[::3], points_2[:, ::2] = wrong, wrong
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        guesses = projected_guesses(result(points_1, points_2), gap_px=0)
    parallax = (100.0 * STEP_M / 3.0, 0.0)
    good = pixels(guesses.to_1)[:, 1::2]
    np.testing.assert_allclose(good, own_pixels()[:, 1::2] + parallax, atol=0.1)
    if not 0.0 < wrong < np.inf:  # a place in front, however near or far
        assert np.isnan(pixels(guesses.to_1)[:, ::2]).all()


@pytest.mark.parametrize('few', [0, 1, 40])
def test_too_few_points_tell_nothing(few):
    points_1 = np.full((HEIGHT, WIDTH, 3), np.nan, np.float32)
    points_1.reshape(-1, 3)[:few] = wall().reshape(-1, 3)[:few]
    assert projected_guesses(result(points_1, wall()), gap_px=4) is None


@pytest.mark.parametrize('points_1', [np.ones((HEIGHT, WIDTH, 3), np.float32), None])
def test_points_that_are_all_alike_or_absent_tell_nothing_without_a_camera(points_1):
    assert projected_guesses(result(points_1, wall()), gap_px=4) is None
    assert projected_guesses(result(points_1, wall(), CAMERA), gap_px=4) is not None


def test_without_points_of_view_2_there_is_no_guess():
    assert projected_guesses(result(wall(), None, CAMERA), gap_px=4) is None


@pytest.mark.parametrize('name', ['pts3d_1', 'pts3d_2'])
def test_points_of_another_size_than_their_view_are_named(name):
    points = {'pts3d_1': wall(), 'pts3d_2': wall(), name: wall()[1:]}
    with pytest.raises(InvalidInput, match=rf'{name} has shape \(89, 120, 3\)'):
        projected_guesses(result(points['pts3d_1'], points['pts3d_2']), gap_px=4)


def test_memory_stays_below_150_bytes_a_pixel():
    grids = [Grid(np.zeros((HEIGHT * 8, WIDTH * 8, 3), np.uint8)) for _ in range(2)]
    camera = Camera.pinhole(WIDTH * 8, HEIGHT * 8, 800.0, 800.0, 479.5, 359.5)
    large = [wall(camera), wall(camera, STEP_M)]
    tracemalloc.start()
    try:
        guesses = projected_guesses(
            InferenceResult(*grids, pts3d_1=large[0], pts3d_2=large[1]), gap_px=4
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert guesses is not None
    assert peak < 150 * WIDTH * HEIGHT * 64
