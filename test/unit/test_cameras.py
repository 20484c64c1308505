# SPDX-License-Identifier: Apache-2.0
"""Cameras project and unproject exactly, read any CameraInfo, and refuse with words."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.poses import as_pose, check_baseline, rotation_pose, stereo_pose
from mast3r_ros.errors import InvalidInput

K = (400.0, 0.0, 311.5, 0.0, 410.0, 244.25, 0.0, 0.0, 1.0)
DISTORTIONS = {
    'none': ('plumb_bob', ()),
    'plumb_bob': ('plumb_bob', (-0.28, 0.07, 0.0002, -0.0001)),
    'plumb_bob of five': ('plumb_bob', (-0.28, 0.07, 0.0002, -0.0001, 0.01)),
    'rational_polynomial': (
        'rational_polynomial',
        (0.9, 0.3, 0.0001, -0.0002, 0.01, 1.2, 0.45, 0.05),
    ),
    'equidistant': ('equidistant', (-0.013, 0.02, -0.012, 0.002)),
}


def info(**changes: object) -> SimpleNamespace:
    """Return a stand-in for a CameraInfo message of a raw 640x480 camera."""
    fields = {
        'width': 640,
        'height': 480,
        'distortion_model': 'plumb_bob',
        'd': [0.0] * 5,
        'k': list(K),
        'r': [1.0, 0, 0, 0, 1, 0, 0, 0, 1],
        'p': [390.0, 0, 300.0, 0, 0, 390.0, 240.0, 0, 0, 0, 1, 0],
        'binning_x': 0,
        'binning_y': 0,
        'roi': SimpleNamespace(x_offset=0, y_offset=0, width=0, height=0, do_rectify=False),
    }
    return SimpleNamespace(**{**fields, **changes})


def distorted(name: str) -> Camera:
    model, coefficients = DISTORTIONS[name]
    return Camera(640, 480, np.array(K).reshape(3, 3), coefficients, model)


def pixels(width: int, height: int, step: int = 7) -> np.ndarray:
    u, v = np.meshgrid(np.arange(0, width, step), np.arange(0, height, step))
    return np.stack([u, v], axis=-1).reshape(-1, 2).astype(float)


def rotation(x: float, y: float, z: float) -> np.ndarray:
    return cv2.Rodrigues(np.array([x, y, z]))[0]


def test_a_pinhole_projects_by_the_book() -> None:
    camera = Camera.pinhole(640, 480, 400.0, 410.0, 311.5, 244.25)
    uv = camera.project([[0.5, -0.25, 2.0]])
    np.testing.assert_allclose(uv, [[0.25 * 400 + 311.5, -0.125 * 410 + 244.25]])
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (400.0, 410.0, 311.5, 244.25)
    assert not camera.is_distorted


def test_what_is_behind_a_camera_is_nowhere_in_its_picture() -> None:
    for name in DISTORTIONS:
        uv = distorted(name).project([[0.0, 0.0, -1.0], [0.1, 0.1, 0.0], [0.1, 0.1, np.nan]])
        assert np.isnan(uv).all(), name


@pytest.mark.parametrize('name', DISTORTIONS)
def test_projecting_a_pixel_s_ray_gives_the_pixel(name: str) -> None:
    camera = distorted(name)
    uv = pixels(640, 480)
    rays = camera.unproject(uv)
    assert np.isfinite(rays).all()
    np.testing.assert_allclose(rays[:, 2], 1.0)
    np.testing.assert_allclose(camera.project(rays * 3.7), uv, atol=2e-3)


@pytest.mark.parametrize('name', DISTORTIONS)
def test_unprojecting_a_point_s_pixel_gives_its_ray(name: str) -> None:
    rays = np.concatenate([pixels(17, 13, 1) / 20 - (0.4, 0.3), np.ones((221, 1))], axis=1)
    camera = distorted(name)
    np.testing.assert_allclose(camera.unproject(camera.project(rays)), rays, atol=1e-5)


@pytest.mark.parametrize('name', ['plumb_bob', 'rational_polynomial'])
def test_distortion_is_opencv_s(name: str) -> None:
    camera = distorted(name)
    points = np.random.default_rng(0).uniform((-1, -1, 2), (1, 1, 4), (50, 3))
    D = np.array(DISTORTIONS[name][1])
    expected, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), camera.K, D)
    np.testing.assert_allclose(camera.project(points), expected[:, 0])


def test_an_equidistant_camera_bends_as_its_angle_says() -> None:
    camera = Camera(640, 480, np.array(K).reshape(3, 3), (0, 0, 0, 1e-12), 'equidistant')
    angle = 0.6
    uv = camera.project([[np.tan(angle), 0.0, 1.0]])
    np.testing.assert_allclose(uv, [[400.0 * angle + 311.5, 244.25]])


def test_pixels_where_distortion_has_no_inverse_are_nan() -> None:
    camera = Camera.pinhole(640, 480, 200.0, 200.0, 320.0, 240.0, (-0.6, 0.0, 0.0, 0.0))
    rays = camera.unproject([[320.0, 240.0], [0.0, 0.0], [639.0, 479.0]])
    np.testing.assert_allclose(rays[0], [0.0, 0.0, 1.0], atol=1e-12)
    assert np.isnan(rays[1:]).all()
    assert np.isnan(camera.rays[0, 0]).all()


def test_rays_hold_one_direction_a_pixel_and_cannot_be_changed() -> None:
    camera = distorted('plumb_bob')
    assert camera.rays.shape == (480, 640, 3)
    assert camera.rays.dtype == np.float32
    assert camera.rays is camera.rays
    np.testing.assert_allclose(camera.rays[7, 11], camera.unproject([[11, 7]])[0], atol=1e-6)
    with pytest.raises(ValueError, match='read-only'):
        camera.rays[0, 0] = 1.0


def test_no_points_and_no_pixels_are_fine() -> None:
    for name in DISTORTIONS:
        assert distorted(name).project(np.empty((0, 3))).shape == (0, 2)
        assert distorted(name).unproject(np.empty((0, 2))).shape == (0, 3)


def test_a_raw_camera_info_gives_k_d_and_r() -> None:
    d = [-0.28, 0.07, 0.0002, -0.0001, 0.0]
    r = rotation(0.01, -0.02, 0.03)
    camera = Camera.from_info(info(d=d, r=r.ravel().tolist()))
    np.testing.assert_array_equal(camera.K.ravel(), K)
    assert camera.distortion == tuple(d)
    np.testing.assert_array_equal(camera.R, r)
    assert camera.P is not None


def test_a_rectified_camera_info_gives_p_and_no_distortion() -> None:
    camera = Camera.from_info(info(d=[-0.28, 0.07, 0, 0, 0]), rectified=True)
    assert not camera.is_distorted
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (390.0, 390.0, 300.0, 240.0)
    np.testing.assert_array_equal(camera.R, np.eye(3))


def test_a_camera_info_may_be_read_from_arrays_and_without_binning_and_roi() -> None:
    message = info(k=np.array(K).reshape(3, 3), d=np.zeros(5))
    del message.binning_x, message.binning_y, message.roi
    assert Camera.from_info(message).fx == 400.0


def test_a_camera_info_without_a_model_name_is_plumb_bob() -> None:
    assert Camera.from_info(info(distortion_model='', d=[])).distortion_model == 'plumb_bob'


def test_a_camera_info_calibrated_alone_carries_no_stereo_pair() -> None:
    camera = Camera.from_info(info(p=[0.0] * 12))
    assert camera.P is None
    with pytest.raises(InvalidInput, match='no stereo rectification'):
        stereo_pose(camera, camera)


def test_binning_halves_the_picture_about_its_edges() -> None:
    whole = Camera.from_info(info())
    half = Camera.from_info(info(binning_x=2, binning_y=2))
    assert (half.width, half.height) == (320, 240)
    point = [[0.3, -0.2, 1.5]]
    np.testing.assert_allclose(half.project(point) + 0.5, (whole.project(point) + 0.5) / 2)


def test_a_region_of_interest_moves_the_principal_point() -> None:
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=320, height=240)
    whole, cut = Camera.from_info(info()), Camera.from_info(info(roi=roi))
    assert (cut.width, cut.height) == (320, 240)
    point = [[0.1, 0.05, 1.5]]
    np.testing.assert_allclose(cut.project(point), whole.project(point) - (100, 40))


def test_a_region_of_interest_counts_in_unbinned_pixels() -> None:
    roi = SimpleNamespace(x_offset=100, y_offset=40, width=320, height=240)
    message = info(roi=roi, binning_x=2, binning_y=2)
    whole, cut = Camera.from_info(info()), Camera.from_info(message)
    assert (cut.width, cut.height) == (160, 120)
    point = [[0.1, 0.05, 1.5]]
    expected = (whole.project(point) + 0.5 - (100, 40)) / 2 - 0.5
    np.testing.assert_allclose(cut.project(point), expected)


def test_binning_keeps_the_baseline() -> None:
    p = [390.0, 0, 300.0, -39.0, 0, 390.0, 240.0, 0, 0, 0, 1, 0]
    left = Camera.from_info(info(binning_x=2, binning_y=2), rectified=True)
    right = Camera.from_info(info(p=p, binning_x=2, binning_y=2), rectified=True)
    np.testing.assert_allclose(stereo_pose(left, right)[:3, 3], [-0.1, 0.0, 0.0])


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'k': [0.0] * 9, 'p': [0.0] * 12}, 'focal lengths are 0 and 0.*calibrate'),
        ({'k': list(K[:8])}, 'K has 8 numbers; it needs 3x3'),
        ({'k': [float('nan'), *K[1:]]}, 'K holds a value that is no finite number'),
        ({'p': [1.0] * 11}, 'P has 11 numbers; it needs 3x4'),
        ({'r': []}, 'R has 0 numbers; it needs 3x3'),
        ({'d': [float('inf'), 0, 0, 0, 0]}, 'distortion holds a value that is no number'),
        ({'d': [0.1, 0.2, 0.3]}, 'plumb_bob has 3 coefficients; allowed are 0, 4, 5'),
        ({'d': [0.1] * 4, 'distortion_model': 'fov'}, "'fov' is unknown; allowed are plumb_bob"),
        ({'width': 0}, '0x480 has no pixels'),
    ],
)
def test_a_camera_info_that_cannot_be_right_is_refused_with_what_is_wrong(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidInput, match=words):
        Camera.from_info(info(**changes))


def test_an_uncalibrated_rectified_camera_info_is_refused() -> None:
    with pytest.raises(InvalidInput, match='calibrate'):
        Camera.from_info(info(p=[0.0] * 12), rectified=True)


def test_zero_coefficients_of_any_model_are_no_distortion() -> None:
    camera = Camera.from_info(info(distortion_model='fov', d=[0.0]))
    assert not camera.is_distorted


@pytest.mark.parametrize(('count', 'model'), [(4, 'plumb_bob'), (8, 'rational_polynomial')])
def test_a_pinhole_s_model_follows_from_its_coefficients(count: int, model: str) -> None:
    camera = Camera.pinhole(640, 480, 400, 400, 320, 240, [0.01] * count)
    assert camera.distortion_model == model


@given(
    st.floats(0.05, 5.0),
    st.floats(0.05, 5.0),
    st.floats(0.0, 300.0),
    st.floats(0.0, 300.0),
    st.sampled_from(sorted(DISTORTIONS)),
)
def test_a_scaled_and_cut_camera_sees_each_point_where_the_scaled_and_cut_picture_shows_it(
    scale_x: float, scale_y: float, x: float, y: float, name: str
) -> None:
    camera = distorted(name)
    scaled = camera.on_grid((scale_x, scale_y), (x, y), 100, 80)
    point = [[0.31, -0.27, 1.9]]
    expected = (camera.project(point) + 0.5) * (scale_x, scale_y) - 0.5 - (x, y)
    np.testing.assert_allclose(scaled.project(point), expected, atol=1e-6)
    assert (scaled.width, scaled.height) == (100, 80)


def test_undistorted_keeps_everything_but_the_distortion() -> None:
    camera = distorted('plumb_bob').undistorted()
    assert not camera.is_distorted
    np.testing.assert_array_equal(camera.K.ravel(), K)


def test_a_calibration_of_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(InvalidInput, match='for 640x480 but the image is 320x240'):
        distorted('none').check_size(320, 240)
    distorted('none').check_size(640, 480)


def calibrated_pair(T_2_1: np.ndarray) -> tuple[Camera, Camera]:
    """Return raw cameras whose rectification OpenCV made for a known pose."""
    camera = distorted('plumb_bob')
    D = np.array(camera.distortion)
    R_1, R_2, P_1, P_2, *_ = cv2.stereoRectify(
        camera.K, D, camera.K, D, (640, 480), T_2_1[:3, :3], T_2_1[:3, 3:]
    )
    return tuple(
        Camera(640, 480, camera.K, camera.distortion, R=R, P=P)
        for R, P in ((R_1, P_1), (R_2, P_2))
    )


@pytest.mark.parametrize(
    'shift',
    [(-0.12, 0.001, 0.002), (0.12, 0.0, 0.0), (0.002, -0.12, 0.001), (0.0, 0.12, 0.003)],
    ids=['left to right', 'right to left', 'upper to lower', 'lower to upper'],
)
def test_stereo_pose_is_the_pose_the_rectification_was_made_for(shift) -> None:
    T_2_1 = rotation_pose(rotation(0.01, -0.03, 0.02))
    T_2_1[:3, 3] = shift
    np.testing.assert_allclose(stereo_pose(*calibrated_pair(T_2_1)), T_2_1, atol=1e-9)


def test_stereo_pose_of_a_rectified_pair_is_its_baseline() -> None:
    p = [390.0, 0, 310.0, -39.0, 0, 390.0, 240.0, 0, 0, 0, 1, 0]
    left = Camera.from_info(info(), rectified=True)
    right = Camera.from_info(info(p=p), rectified=True)
    expected = np.eye(4)
    expected[0, 3] = -0.1
    np.testing.assert_allclose(stereo_pose(left, right), expected)


def test_a_zero_baseline_is_said_with_what_is_needed() -> None:
    left = Camera.from_info(info(), rectified=True)
    with pytest.raises(InvalidInput, match=r'baseline.* is 0 m.*P\[3\] = -fx \* baseline'):
        stereo_pose(left, left)


@pytest.mark.parametrize('value', [0.0, 1e-9, np.nan, np.inf])
def test_a_baseline_that_is_none_is_refused(value: float) -> None:
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = value
    with pytest.raises(InvalidInput, match='baseline'):
        check_baseline(T_2_1)


def test_a_baseline_is_measured_in_metres() -> None:
    T_2_1 = np.eye(4)
    T_2_1[:3, 3] = (0.3, -0.4, 0.0)
    assert check_baseline(T_2_1) == pytest.approx(0.5)


def test_a_pose_is_taken_as_nested_lists() -> None:
    assert as_pose(np.eye(4).tolist()).dtype == np.float64


@pytest.mark.parametrize(
    ('T', 'words'),
    [
        (np.eye(3), 'T_2_1 has 9 numbers; it needs 4x4'),
        (np.diag([1.0, 1, 2, 1]), 'must be a rotation'),
        (np.diag([1.0, 1, -1, 1]), 'must be a rotation'),
        (np.full((4, 4), np.nan), 'no finite number'),
        (np.eye(4).T + np.eye(4)[[3, 0, 1, 2]] * [[0], [0], [0], [1]], 'last row'),
    ],
)
def test_what_is_no_rigid_transform_is_refused(T: np.ndarray, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        as_pose(T)
