# SPDX-License-Identifier: Apache-2.0
"""What is read from pictures alone: stillness, things that move by themselves, and the sources."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.products import Cloud
from mast3r_ros.core.views import Grid, View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.dynamic_pixels import DynamicPixels
from mast3r_ros.sequence.flow_gate import FlowGate
from mast3r_ros.sequence.picture_sources import ImageFiles, Selection, Video, images_in

CAMERA = Camera.pinhole(320, 240, 260.0, 260.0, 159.5, 119.5)
DEPTH_M = 4.0


def texture(seed=0, width=900, height=700) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2.0), None, 0, 255, cv2.NORM_MINMAX)


WALL = texture()


def wall_from(x_m: float) -> np.ndarray:
    """Return the picture of a wall from a place x metres to the right."""
    shift = CAMERA.fx * x_m / DEPTH_M
    M = np.array([[1.0, 0.0, 200.0 + shift], [0.0, 1.0, 200.0]])
    return cv2.warpAffine(WALL, M, (320, 240), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def cloud(depth: np.ndarray) -> Cloud:
    points = CAMERA.rays * depth[..., None].astype(np.float32)
    grid = Grid(np.zeros((240, 320, 3), np.uint8), None, CAMERA)
    return Cloud(grid, points, np.full((240, 320), 5.0, np.float32))


def at(x_m: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x_m
    return T


def look(moving: DynamicPixels, n: int, box_speed_m: float = 0.0, depth_error=1.0):
    """Return the mask and the true one of a camera that goes right before a wall with a box."""
    x_m = 0.05 * n
    image, depth = wall_from(x_m).copy(), np.full((240, 320), DEPTH_M)
    left = round(100 + CAMERA.fx * (box_speed_m * n - x_m) / 2.0)
    truth = np.zeros((240, 320), np.bool_)
    truth[90:150, left : left + 70] = True
    image[truth] = texture(3)[:60, :70].reshape(-1, 3)
    depth[truth] = 2.0
    found = moving.find(image, CAMERA, cloud(depth * depth_error), at(x_m))
    return found, truth


def test_a_static_scene_stays_static_even_with_a_wrong_depth():
    moving = DynamicPixels(1.5)
    waves = 1.0 + 0.03 * np.sin(np.linspace(0, 7, 320))[None, :]
    for n in range(8):
        found, _ = look(moving, n, depth_error=waves)
        assert not found.any()


@pytest.mark.parametrize('speed_m', [0.01, 0.02, 0.05])
def test_a_box_that_moves_is_found_as_a_whole(speed_m):
    moving = DynamicPixels(1.5)
    for n in range(6):
        found, truth = look(moving, n, box_speed_m=speed_m)
    assert (found & truth).sum() / (found | truth).sum() > 0.7


def test_without_points_nothing_is_said():
    moving = DynamicPixels(1.5)
    assert moving.find(wall_from(0.0), CAMERA, None, at(0.0)) is None


def test_a_cloud_without_any_depth_moves_nowhere():
    moving = DynamicPixels(1.5)
    for n in range(5):
        empty = np.full((240, 320), np.nan)
        assert not moving.find(wall_from(0.1 * n), CAMERA, cloud(empty), at(0.1 * n)).any()


def test_the_mask_lies_on_the_cloud_s_grid():
    moving = DynamicPixels(1.5)
    grid = Grid(np.zeros((60, 80, 3), np.uint8), None, None, (0.25, 0.25))
    small = Cloud(grid, np.full((60, 80, 3), 4.0, np.float32), np.ones((60, 80), np.float32))
    for _ in range(2):
        assert moving.find(wall_from(0.0), CAMERA, small, at(0.0)).shape == (60, 80)


@pytest.mark.parametrize(('shift_px', 'still'), [(0.0, True), (0.2, True), (3.0, False)])
def test_the_gate_tells_a_standing_camera_from_a_moving_one(shift_px, still):
    gate = FlowGate(0.5)
    gate.remember(wall_from(0.0))
    assert gate.is_still(wall_from(shift_px * DEPTH_M / CAMERA.fx)) is still


def test_a_creeping_camera_is_noticed_in_the_end():
    gate = FlowGate(0.5)
    gate.remember(wall_from(0.0))
    seen = [gate.is_still(wall_from(0.1 * n * DEPTH_M / CAMERA.fx)) for n in range(12)]
    assert seen[0]
    assert not seen[-1]


def test_a_small_thing_that_moves_alone_opens_the_gate():
    gate = FlowGate(0.5)
    image = wall_from(0.0)
    moved = image.copy()
    moved[90:150, 130:200] = image[90:150, 125:195]
    gate.remember(image)
    assert not gate.is_still(moved)


@pytest.mark.parametrize('image', [np.zeros((240, 320, 3), np.uint8), wall_from(0.0)[:100]])
def test_the_gate_stays_open_where_nothing_can_be_compared(image):
    gate = FlowGate(0.5)
    gate.remember(image)
    assert not gate.is_still(np.zeros((240, 320, 3), np.uint8))
    assert not FlowGate(0.0).is_still(image)


@pytest.fixture
def pictures(tmp_path):
    for n in (1, 2, 3, 10, 11):
        Image.fromarray(np.full((60, 80, 3), n, np.uint8)).save(tmp_path / f'shot{n}.png')
    (tmp_path / 'notes.txt').write_text('no picture')
    return tmp_path


def levels(source) -> list[int]:
    return [int(frame.view.image[0, 0, 0]) for frame in source.frames()]


def test_a_folder_is_read_in_the_order_that_people_mean(pictures):
    assert levels(ImageFiles(images_in(pictures), 10.0)) == [1, 2, 3, 10, 11]


def test_stamps_follow_the_rate_also_with_a_stride(pictures):
    source = ImageFiles(images_in(pictures), 10.0, None, Selection(stride=2))
    stamps = [frame.view.stamp_ns for frame in source.frames()]
    assert stamps == [0, 200_000_000, 400_000_000]
    assert source.total == 3


def test_the_number_of_frames_counts_those_that_are_taken(pictures):
    source = ImageFiles(images_in(pictures), 10.0, None, Selection(stride=2, frames=2))
    assert levels(source) == [1, 3]
    assert source.total == 2


def test_pictures_are_scaled_down_with_their_calibration(pictures):
    camera = Camera.pinhole(80, 60, 70.0, 70.0, 39.5, 29.5)
    source = ImageFiles(images_in(pictures), 10.0, camera, Selection(long_side=40))
    view = next(iter(source.frames())).view
    assert view.image.shape == (30, 40, 3)
    assert view.camera.fx == pytest.approx(35.0)
    assert view.camera.cx == pytest.approx(19.5)


def test_a_picture_of_another_size_than_its_calibration_is_named(pictures):
    source = ImageFiles(images_in(pictures), 10.0, Camera.pinhole(64, 48, 70, 70, 32, 24))
    with pytest.raises(InvalidInput, match=r'shot1\.png'):
        list(source.frames())


@pytest.mark.parametrize(
    'options', [{'stride': 0}, {'frames': 0}, {'long_side': 5}], ids=lambda o: next(iter(o))
)
def test_a_selection_of_nothing_is_refused(options):
    with pytest.raises(InvalidInput, match='give at least'):
        Selection(**options)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InvalidInput, match='holds no image'):
        images_in(tmp_path)


@pytest.fixture
def video(tmp_path):
    path = tmp_path / 'walk.avi'
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*'MJPG'), 20.0, (80, 60))
    for n in range(9):
        writer.write(np.full((60, 80, 3), 20 * n, np.uint8))
    writer.release()
    return path


def test_a_video_is_read_frame_by_frame(video):
    source = Video(video, None, Selection(stride=3))
    frames = list(source.frames())
    assert [frame.view.stamp_ns for frame in frames] == [0, 150_000_000, 300_000_000]
    found = [float(frame.view.image.mean()) for frame in frames]
    np.testing.assert_allclose(found, [0, 60, 120], atol=3)
    assert source.total == 3


def test_the_rate_of_a_video_can_be_set_right(video):
    frames = list(Video(video, None, Selection(frames=2), rate_hz=10.0).frames())
    assert frames[1].view.stamp_ns == 100_000_000


def test_what_is_no_video_is_refused(tmp_path):
    (tmp_path / 'fake.mp4').write_bytes(b'no video at all')
    with pytest.raises(InvalidInput, match='cannot read the video'):
        Video(tmp_path / 'fake.mp4')


def test_a_view_s_mask_is_scaled_with_it():
    mask = np.zeros((60, 80), np.bool_)
    mask[:, :40] = True
    view = View(np.zeros((60, 80, 3), np.uint8), None, mask, 7, 'eye')
    small = Selection(long_side=40).sized(view)
    assert small.mask[:, :20].all()
    assert not small.mask[:, 20:].any()
    assert (small.stamp_ns, small.frame_id) == (7, 'eye')
