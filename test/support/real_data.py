# SPDX-License-Identifier: Apache-2.0
"""The real pictures of the folder that MAST3R_ROS_DATA names; without it their tests skip.

They are read in place and never copied: some are for research use only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.images import load_image
from mast3r_ros.core.poses import stereo_pose
from mast3r_ros.core.views import ImageArray

_REPOSITORY = Path(__file__).resolve().parents[2]
_DEFAULT = _REPOSITORY.parent / 'shared' / 'data'


def find_data_folder(name: str) -> Path | None:
    """Return a folder of real pictures, None where it is absent."""
    folder = Path(os.environ.get('MAST3R_ROS_DATA') or _DEFAULT) / name
    return folder if folder.is_dir() else None


def data_folder(name: str) -> Path:
    """Return a folder of real pictures, or skip the test that asks."""
    folder = find_data_folder(name)
    if folder is None:
        pytest.skip(f'MAST3R_ROS_DATA does not name a folder with {name}')
    return folder


@dataclass(frozen=True, eq=False)
class StereoPair:
    """A calibrated pair; ``true_disparity`` (H, W) is NaN where it is not known."""

    image_1: ImageArray
    image_2: ImageArray
    camera_1: Camera
    camera_2: Camera
    T_2_1: NDArray[np.float64]
    true_disparity: NDArray[np.float64] | None = None

    @property
    def cameras(self) -> tuple[Camera, Camera, NDArray[np.float64]]:
        """What ``infer`` takes as ``cameras``."""
        return self.camera_1, self.camera_2, self.T_2_1


MOTORCYCLE_FOCAL_PX = 994.978
MOTORCYCLE_BASELINE_M = 0.193001
MOTORCYCLE_OFFSET_PX = 31.086  # how much farther right the principal point of view 2 lies


def motorcycle(size: tuple[int, int] | None = None) -> StereoPair:
    """Return the rectified motorcycle pair, scaled to ``size`` (width, height) if given."""
    folder = data_folder('middlebury_motorcycle')
    image_1 = load_image(folder / 'motorcycle_left.png')
    image_2 = load_image(folder / 'motorcycle_right.png')
    with np.load(folder / 'motorcycle_disp.npz') as file:
        truth = file[file.files[0]].astype(np.float64)
    truth[~np.isfinite(truth)] = np.nan
    height, width = truth.shape
    focal_px, cx, cy = MOTORCYCLE_FOCAL_PX, 311.193, 254.877
    camera_1 = Camera.pinhole(width, height, focal_px, focal_px, cx, cy)
    camera_2 = Camera.pinhole(width, height, focal_px, focal_px, cx + MOTORCYCLE_OFFSET_PX, cy)
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = -MOTORCYCLE_BASELINE_M
    if size is None:
        return StereoPair(image_1, image_2, camera_1, camera_2, T_2_1, truth)
    scale = size[0] / width, size[1] / height
    small_1, small_2 = (
        np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
        for image in (image_1, image_2)
    )
    camera_1, camera_2 = (
        camera.on_grid(scale, (0.0, 0.0), *size) for camera in (camera_1, camera_2)
    )
    return StereoPair(small_1, small_2, camera_1, camera_2, T_2_1)


def euroc_pairs() -> list[StereoPair]:
    """Return the 30 raw, distorted pairs of a drone that stands still."""
    folder = data_folder('euroc_stereo_bag')
    try:
        from rosbags.highlevel import AnyReader
    except ImportError:
        pytest.skip('MAST3R_ROS_DATA: euroc_stereo_bag needs rosbags; pip install rosbags')
    images: dict[str, dict[int, ImageArray]] = {'left': {}, 'right': {}}
    infos: dict[str, Any] = {}
    with AnyReader([folder]) as reader:
        for connection, _, raw in reader.messages():
            message: Any = reader.deserialize(raw, connection.msgtype)
            _, _, side, kind = connection.topic.split('/')
            if kind == 'camera_info':
                infos[side] = message
                continue
            gray = np.asarray(message.data, np.uint8).reshape(message.height, message.width)
            stamp = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
            images[side][stamp] = np.repeat(gray[..., None], 3, axis=2)
    cameras = [Camera.from_info(infos[side]) for side in ('left', 'right')]
    T_2_1 = stereo_pose(cameras[0], cameras[1])
    stamps = sorted(images['left'].keys() & images['right'].keys())
    return [
        StereoPair(images['left'][stamp], images['right'][stamp], cameras[0], cameras[1], T_2_1)
        for stamp in stamps
    ]


@dataclass(frozen=True, eq=False)
class Frame:
    """A frame of the hand-held walk; ``T_world_camera`` is the pose of the depth camera."""

    number: int
    path: Path
    T_world_camera: NDArray[np.float64]

    @property
    def image(self) -> ImageArray:
        """The colour picture."""
        return load_image(self.path)


KITCHEN_CAMERA = Camera.pinhole(640, 480, 520.0, 520.0, 320.0, 240.0)  # about: not calibrated


def kitchen_pairs(gap: int, every: int = 1) -> list[tuple[Frame, Frame]]:
    """Return (newer, older) frames of the walk whose numbers lie ``gap`` apart."""
    folder = data_folder('redkitchen_150')
    frames = {}
    for path in sorted(folder.glob('frame-*.color.jpg')):
        stem = path.name.removesuffix('.color.jpg')
        number = int(stem.removeprefix('frame-'))
        frames[number] = Frame(number, path, np.loadtxt(folder / f'{stem}.pose.txt'))
    starts = [number for number in sorted(frames) if number + gap in frames]
    return [(frames[number + gap], frames[number]) for number in starts[::every]]
