# SPDX-License-Identifier: Apache-2.0
"""Published calibration: it reads back as it was, and a pixel's point projects onto that pixel."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.geometry import put_on_rays
from mast3r_ros.core.poses import stereo_pose
from mast3r_ros.core.preprocessing import plan_for_shape, plan_official, to_grid
from mast3r_ros.core.views import Grid, View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.camera_info import camera_info_fields, depth_camera_info_fields
from mast3r_ros.wire.message_fields import make_by_attributes
from mast3r_ros.wire.stamps import header_fields

HEADER = header_fields(17, 'left_optical')
K = np.array([[520.0, 0.0, 310.5], [0.0, 515.0, 243.25], [0.0, 0.0, 1.0]])
P = np.array([[500.0, 0.0, 322.0, 0.0], [0.0, 500.0, 238.0, 0.0], [0.0, 0.0, 1.0, 0.0]])
P_RIGHT = P + np.array([[0.0, 0.0, 0.0, -60.0], [0.0] * 4, [0.0] * 4])
R = cv2.Rodrigues(np.array([0.01, -0.02, 0.015]))[0]
DISTORTIONS = {
    'none': ('plumb_bob', ()),
    'plumb_bob': ('plumb_bob', (-0.28, 0.07, 1e-3, -5e-4, 0.0)),
    'rational_polynomial': (
        'rational_polynomial',
        (0.3, -0.1, 1e-3, 2e-4, 0.02, 0.6, -0.05, 0.05),
    ),
    'equidistant': ('equidistant', (-0.02, 0.01, -0.004, 0.001)),
}


def raw_camera(distortion, projection=P):
    model, coefficients = DISTORTIONS[distortion]
    return Camera(640, 480, K, coefficients, model, R=R, P=projection)


def rectified_camera(projection=P):
    return Camera(640, 480, projection[:, :3], R=np.eye(3), P=projection)


def message_of(fields):
    return make_by_attributes(fields, lambda _: SimpleNamespace)


def grid_of(camera, plan):
    view = View(np.zeros((camera.height, camera.width, 3), np.uint8), camera)
    return to_grid(view, plan)


PLANS = {
    'as it came': plan_for_shape(640, 480, (480, 640), 16),
    'scaled': plan_official(640, 480, 512, 16, False),
    'scaled unevenly': plan_official(640, 480, 333, 14, True),
    'cut at the sides': plan_for_shape(640, 480, (480, 480), 16),
    'cut at top and bottom': plan_for_shape(640, 480, (144, 512), 16),
}


@pytest.mark.parametrize('distortion', DISTORTIONS)
@pytest.mark.parametrize('projection', [P, P_RIGHT], ids=['left', 'right'])
def test_raw_camera_reads_back_as_it_was(distortion, projection):
    camera = raw_camera(distortion, projection)
    message = message_of(camera_info_fields(HEADER, camera))
    assert_equal(Camera.from_info(message), camera)
    assert message.header.frame_id == 'left_optical'


@pytest.mark.parametrize('projection', [P, P_RIGHT], ids=['left', 'right'])
def test_rectified_camera_reads_back_as_it_was(projection):
    camera = rectified_camera(projection)
    message = message_of(camera_info_fields(HEADER, camera))
    assert_equal(Camera.from_info(message, rectified=True), camera)
    assert_equal(Camera.from_info(message, rectified=False), camera)


def test_camera_without_a_pair_says_that_its_rectified_image_is_the_undistorted_one():
    camera = Camera.pinhole(640, 480, 500.0, 510.0, 320.0, 240.0, (-0.2, 0.1, 0.0, 0.0, 0.0))
    read = Camera.from_info(message_of(camera_info_fields(HEADER, camera)))
    np.testing.assert_array_equal(read.K, camera.K)
    assert read.distortion == camera.distortion
    np.testing.assert_array_equal(read.R, np.eye(3))
    np.testing.assert_array_equal(read.P, np.hstack([camera.K, np.zeros((3, 1))]))


def test_stereo_pair_keeps_its_baseline_through_messages():
    cameras = [raw_camera('plumb_bob', projection) for projection in (P, P_RIGHT)]
    read = [Camera.from_info(message_of(camera_info_fields(HEADER, item))) for item in cameras]
    np.testing.assert_allclose(stereo_pose(*read), stereo_pose(*cameras))


@pytest.mark.parametrize('plan', PLANS)
@pytest.mark.parametrize('distortion', DISTORTIONS)
def test_points_of_a_raw_grid_project_onto_their_own_pixels(distortion, plan):
    grid = grid_of(raw_camera(distortion), PLANS[plan])
    message = message_of(depth_camera_info_fields(HEADER, grid))
    points, pixels = points_of(grid)
    matrix, zero = message.k.reshape(3, 3), np.zeros(3)
    coefficients = np.array(message.d)
    if message.distortion_model == 'equidistant':
        found, _ = cv2.fisheye.projectPoints(points[:, None], zero, zero, matrix, coefficients)
    else:
        found, _ = cv2.projectPoints(points[:, None], zero, zero, matrix, coefficients)
    assert np.abs(found.reshape(-1, 2) - pixels).max() < 0.01


@pytest.mark.parametrize('plan', PLANS)
@pytest.mark.parametrize('projection', [P, P_RIGHT], ids=['left', 'right'])
def test_points_of_a_rectified_grid_project_onto_their_own_pixels(projection, plan):
    grid = grid_of(rectified_camera(projection), PLANS[plan])
    message = message_of(depth_camera_info_fields(HEADER, grid))
    points, pixels = points_of(grid)
    projected = np.c_[points, np.ones(len(points))] @ message.p.reshape(3, 4).T
    assert np.abs(projected[:, :2] / projected[:, 2:] - pixels).max() < 0.01
    assert not any(message.d)
    np.testing.assert_array_equal(message.r, np.eye(3).reshape(-1))


def test_grid_camera_has_the_size_of_the_grid():
    grid = grid_of(rectified_camera(), PLANS['cut at top and bottom'])
    fields = depth_camera_info_fields(HEADER, grid)
    assert (fields['width'], fields['height']) == (512, 144)


def test_grid_without_a_camera_is_refused():
    with pytest.raises(InvalidInput, match='no camera calibration'):
        depth_camera_info_fields(HEADER, Grid(np.zeros((4, 4, 3), np.uint8)))


def test_undistorted_fisheye_is_published_as_a_pinhole():
    """An equidistant model of four zeros would bend rays; no distortion at all does not."""
    camera = Camera(640, 480, K, (), 'equidistant')
    assert camera_info_fields(HEADER, camera)['distortion_model'] == 'plumb_bob'


def points_of(grid):
    """The float32 points that a pixel grid of made-up depth becomes, and their pixels."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(grid.height, grid.width, 3)).astype(np.float32)
    points[..., 2] = rng.uniform(0.5, 20.0, points.shape[:2])
    points = put_on_rays(points, grid.camera).reshape(-1, 3).astype(np.float64)
    v, u = np.mgrid[0 : grid.height, 0 : grid.width]
    seen = np.isfinite(points).all(axis=1)
    assert seen.mean() > 0.9
    return points[seen], np.stack([u, v], axis=-1).reshape(-1, 2)[seen]


def assert_equal(read, camera):
    assert (read.width, read.height) == (camera.width, camera.height)
    assert (read.distortion, read.distortion_model) == (camera.distortion, camera.distortion_model)
    for name in ('K', 'R', 'P'):
        np.testing.assert_array_equal(getattr(read, name), getattr(camera, name))
