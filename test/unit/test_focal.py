# SPDX-License-Identifier: Apache-2.0
"""The focal length that a pointmap tells of, where nobody has calibrated the camera."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.focal import MIN_SAMPLES, estimate_camera, estimate_focal_px, with_camera
from mast3r_ros.core.products import Cloud
from mast3r_ros.core.views import Grid


def pointmap(width, height, focal_px, *, scale=1.0, noise=0.0, seed=0):
    """Points of an uneven wall seen by a camera of that focal length, relative depth noise."""
    rng = np.random.default_rng(seed)
    centre = (width - 1) / 2, (height - 1) / 2
    rays = Camera.pinhole(width, height, focal_px, focal_px, *centre).rays
    depth = 2.0 + np.sin(np.arange(height) / 9.0)[:, None] + np.cos(np.arange(width) / 7.0)
    points = rays * (scale * (depth + 1.0))[..., None]
    points[..., :2] *= np.exp(noise * rng.standard_normal((height, width, 1)))
    return points.astype(np.float32)


@given(
    width=st.integers(16, 300),
    height=st.integers(16, 300),
    relative=st.floats(0.3, 5.0),
    scale=st.floats(1e-3, 1e3),
)
def test_points_on_rays_give_the_focal_length_of_those_rays(width, height, relative, scale):
    focal_px = relative * width
    found = estimate_focal_px(pointmap(width, height, focal_px, scale=scale), None)
    assert found == pytest.approx(focal_px, rel=1e-3)


def test_noise_and_outliers_hardly_matter():
    points = pointmap(160, 120, 130.0, noise=0.05)
    confidence = np.full((120, 160), 6.0, np.float32)
    rng = np.random.default_rng(1)
    wrong = rng.random((120, 160)) < 0.2
    points[wrong] = rng.uniform(-5.0, 5.0, (int(wrong.sum()), 3)).astype(np.float32)
    assert estimate_focal_px(points, confidence) == pytest.approx(130.0, rel=0.03)


def test_only_confident_points_count():
    points = pointmap(160, 120, 130.0)
    points[:, :120] = pointmap(160, 120, 300.0)[:, :120]
    confidence = np.ones((120, 160), np.float32)
    confidence[:, 120:] = 4.0
    assert estimate_focal_px(points, confidence) == pytest.approx(130.0, rel=1e-3)


def test_missing_points_are_passed_over():
    points = pointmap(160, 120, 130.0)
    points[:60] = np.nan
    assert estimate_focal_px(points, None) == pytest.approx(130.0, rel=1e-3)


@pytest.mark.parametrize(
    'points',
    [
        np.full((50, 50, 3), np.nan, np.float32),
        np.zeros((50, 50, 3), np.float32),
        -pointmap(50, 50, 50.0),
        pointmap(6, 6, 6.0)[: MIN_SAMPLES // 6 - 2],
    ],
    ids=['all NaN', 'all zero', 'all behind', 'too few'],
)
def test_where_nothing_can_be_known_nothing_is_claimed(points):
    assert estimate_focal_px(points, None) is None
    assert estimate_camera(points, None) is None


def test_a_focal_length_that_no_lens_has_is_no_camera():
    assert estimate_camera(pointmap(100, 80, 5000.0), None) is None
    assert estimate_camera(pointmap(100, 80, 4.0), None) is None


def test_the_camera_projects_the_points_onto_their_pixels():
    points = pointmap(100, 80, 90.0)
    camera = estimate_camera(points, None)
    uv = camera.project(points.reshape(-1, 3)).reshape(80, 100, 2)
    v, u = np.mgrid[:80, :100]
    assert np.abs(uv - np.stack([u, v], -1)).max() < 0.05


def cloud(camera=None, points=None):
    grid = Grid(np.zeros((80, 100, 3), np.uint8), camera=camera)
    points = pointmap(100, 80, 90.0) if points is None else points
    return Cloud(grid, points, np.full((80, 100), 3.0, np.float32))


def test_a_cloud_without_calibration_gets_the_estimate_and_a_note():
    found, notes = with_camera(cloud())
    assert found.grid.camera.fx == pytest.approx(90.0, rel=1e-3)
    assert 'estimated from the points as 90.0 px at 100x80' in notes[0]


def test_a_calibrated_cloud_stays_as_it_is():
    known = cloud(Camera.pinhole(100, 80, 77.0, 77.0, 50.0, 40.0))
    assert with_camera(known) == (known, ())
    assert with_camera(None) == (None, ())


def test_a_cloud_that_tells_nothing_stays_without_a_camera_and_says_so():
    found, notes = with_camera(cloud(points=np.full((80, 100, 3), np.nan, np.float32)))
    assert found.grid.camera is None
    assert 'no focal length' in notes[0]
