# SPDX-License-Identifier: Apache-2.0
"""Plays a run folder, as mast3r-reconstruct writes it, into a view."""

from __future__ import annotations

import csv
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.ply import read_ply
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import ImageArray
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.run_folder import FRAMES_FILE, INTRINSICS_FILE, REPORT_FILE
from mast3r_ros.sequence.trajectory import read_tum
from mast3r_ros.viewer.image_store import ImageStore
from mast3r_ros.viewer.parts import CloudPart, PosePart, Sentence, StatsPart
from mast3r_ros.viewer.scene import Scene
from mast3r_ros.wire.pose_fields import in_ros_world, points_in_ros_world

_LONGEST_WAIT_S = 5.0  # between two frames, whatever gap the run has


@dataclass(frozen=True)
class _Frame:
    number: int
    stamp_ns: int
    state: str
    matches: int
    reason: str


class RunPlayback:
    """Plays frames at the speed they were taken at, as the view's flow lets them.

    :param speed: times that of the recording.
    :raises InvalidInput: the folder holds no whole run.
    """

    unit = 'frames'
    """What is shown one after the other."""

    def __init__(self, path: Path, *, speed: float = 1.0) -> None:
        self._path = path
        self._speed = speed
        try:
            self._report = json.loads((path / REPORT_FILE).read_text(encoding='utf-8'))
            self._frames = _read_frames(path / FRAMES_FILE)
            self._cameras = _read_cameras(path / INTRINSICS_FILE)
        except (OSError, ValueError, KeyError) as error:
            raise InvalidInput(
                f'{path} holds no finished run ({error}); finish it with --resume, or make one '
                'with mast3r-reconstruct'
            ) from error
        poses = read_tum(path / 'trajectory.txt')
        self._poses = dict(zip(poses.stamps_ns.tolist(), poses.T_world_camera, strict=True))

    @staticmethod
    def is_run(path: Path) -> bool:
        """Whether a folder looks like a run's."""
        return (path / FRAMES_FILE).is_file()

    def play(self, scene: Scene, store: ImageStore) -> int:
        """Play to the end, or until the view is closed; return how many frames were shown."""
        if (self._path / 'map.ply').is_file():
            scene.offer_map(self._map)
        before_ns: int | None = None
        for shown, frame in enumerate(self._frames):
            gap_s = 0.0 if before_ns is None else (frame.stamp_ns - before_ns) / 1e9 / self._speed
            before_ns = frame.stamp_ns
            if gap_s > 0.0 and not scene.flow.paused:
                time.sleep(min(gap_s, _LONGEST_WAIT_S))
            if not scene.flow.wait_for_turn():
                return shown
            self._show(scene, store, frame)
        return len(self._frames)

    def _show(self, scene: Scene, store: ImageStore, frame: _Frame) -> None:
        stamp_ns, pose = frame.stamp_ns, self._poses.get(frame.stamp_ns)
        if pose is not None:
            scene.add_pose(PosePart(stamp_ns, in_ros_world(pose)))
        picture = self._path / 'rgb' / f'{frame.number:06d}.png'
        if picture.is_file():
            store.add('image', stamp_ns, picture.stat().st_size, partial(_picture, picture))
        if frame.number in self._cameras and self._depth_file(frame).is_file():
            scene.offer_cloud(lambda: self._cloud(frame))
        scene.add_stats(self._stats(frame))
        level, text = (1, f'lost: {frame.reason}') if pose is None else (0, frame.state)
        scene.say([Sentence(level, f'frame {frame.number}: {text}')])

    def _depth_file(self, frame: _Frame) -> Path:
        return self._path / 'depth' / f'{frame.number:06d}.npy'

    def _cloud(self, frame: _Frame) -> CloudPart:
        camera = self._cameras[frame.number]
        shape = camera.height, camera.width
        depth = _array(self._depth_file(frame), shape)
        sure = self._path / 'confidence' / f'{frame.number:06d}.npy'
        confidence = _array(sure, shape) if sure.is_file() else np.ones(shape, np.float32)
        picture = self._path / 'rgb' / f'{frame.number:06d}.png'
        colors = (
            _fitted(_picture(picture), camera.width, camera.height)
            if picture.is_file()
            else np.full((*shape, 3), 160, np.uint8)
        )
        points = (camera.rays * depth[..., None]).astype(np.float32)
        return CloudPart(frame.stamp_ns, points, colors, confidence)

    def _map(self) -> CloudPart:
        points, colors, confidence = read_ply(self._path / 'map.ply')
        in_world = points_in_ros_world(points)
        return CloudPart(0, in_world[None], colors[None], confidence[None])

    def _stats(self, frame: _Frame) -> StatsPart:
        report: dict[str, Any] = self._report
        engine, device = str(report.get('engine', '')), str(report.get('device', ''))
        source = str(report.get('scale_source', 'none'))
        return StatsPart(
            frame.stamp_ns, engine, device, matches=frame.matches, scale_source=source
        )


def _read_frames(path: Path) -> list[_Frame]:
    with path.open(newline='', encoding='utf-8') as file:
        return [
            _Frame(
                int(row['number']),
                int(row['stamp_ns']),
                row['state'],
                int(row['matches']),
                row['reason'],
            )
            for row in csv.DictReader(file)
        ]


def _read_cameras(path: Path) -> dict[int, Camera]:
    """Return the camera of each frame's depth, by the frame's number."""
    cameras = {}
    for line in path.read_text(encoding='utf-8').splitlines():
        number, width, height, *lens = line.split()
        cameras[int(number)] = Camera.pinhole(
            int(width), int(height), *(float(value) for value in lens)
        )
    return cameras


def _array(path: Path, shape: tuple[int, int]) -> FloatArray:
    """Return what lies in a file, which must be of that shape."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InvalidInput(f'{path} is no whole array: {error}') from error
    if found.shape != shape or found.dtype != np.float32:
        raise InvalidInput(f'{path} is {found.dtype} {found.shape}; it must be float32 {shape}')
    return np.asarray(found)


def _picture(path: Path) -> ImageArray:
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InvalidInput(f'{path} is no picture')
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


def _fitted(image: ImageArray, width: int, height: int) -> ImageArray:
    """Return a picture on the pixels of the depth: scaled to cover it, the centre cut out."""
    scale = max(width / image.shape[1], height / image.shape[0])
    size = max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.asarray(scaled[top : top + height, left : left + width], np.uint8)
