# SPDX-License-Identifier: Apache-2.0
"""A folder that holds all of a run: what each frame showed, the way of the camera, and the scene.

trajectory.txt       TUM, all placed frames; keyframes.txt only the keyframes
frames.csv           one line a frame: number, stamp, state, why
intrinsics.txt       number, width, height, fx, fy, cx, cy of each frame's depth
depth/000000.npy     float32 (H, W), Z; depth_color/000000.png for the eye
confidence/000000.npy, rgb/000000.png, dynamic/000000.png (255: moves by itself)
scene.glb, map.ply   the map
run.json             settings, versions, figures
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mast3r_ros.core.ply import write_ply
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import ImageArray, View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.checkpoint import FOLDER as RESUME
from mast3r_ros.sequence.frames import TrackedFrame
from mast3r_ros.sequence.glb import write_glb
from mast3r_ros.sequence.keyframe import Keyframe
from mast3r_ros.sequence.trajectory import Trajectory, write_tum
from mast3r_ros.sequence.voxel_map import MapCloud

PER_FRAME = ('depth', 'depth_color', 'confidence', 'rgb', 'dynamic')
FRAMES_FILE = 'frames.csv'
INTRINSICS_FILE = 'intrinsics.txt'
_LISTS = (FRAMES_FILE, INTRINSICS_FILE)
REPORT_FILE = 'run.json'
_FILES = (*_LISTS, REPORT_FILE, 'trajectory.txt', 'keyframes.txt', 'map.ply', 'scene.glb')
_OF_A_FRAME = re.compile(r'\d{6,}\.(npy|png)')
_HEAD = ('number', 'stamp_ns', 'state', 'matches', 'inlier_share', 'keyframe', 'reason')
_CAMERA_SIZE = 0.05  # of the typical depth
_CAMERAS_DRAWN = 500


class RunFolder:
    """Writes a run; every file of a frame is there once the frame is done.

    :param parts: which of :data:`PER_FRAME` to write.
    :param replace: empty a folder that holds an older run.
    :param resume_at: go on with a run of which so many frames are there.
    """

    def __init__(
        self,
        path: Path,
        parts: Sequence[str] = PER_FRAME,
        *,
        replace: bool = False,
        resume_at: int = 0,
    ) -> None:
        unknown = [part for part in parts if part not in PER_FRAME]
        if unknown:
            raise InvalidInput(
                f'{unknown[0]!r} is no part of a run folder; known are {", ".join(PER_FRAME)}'
            )
        self.path = path
        self._parts = tuple(parts)
        self._number = resume_at
        rows, lines = (_lines(path, name, resume_at) if resume_at else [] for name in _LISTS)
        if not resume_at:
            _claim(path, replace)
        for part in self._parts:
            (path / part).mkdir(exist_ok=True)
        self._frames = (path / FRAMES_FILE).open('w', newline='', encoding='utf-8')
        self._intrinsics = (path / INTRINSICS_FILE).open('w', encoding='utf-8')
        self._frames.writelines(rows)
        self._intrinsics.writelines(lines)
        self._rows = csv.writer(self._frames)
        if not resume_at:
            self._rows.writerow(_HEAD)

    def write(self, frame: TrackedFrame, view: View) -> None:
        """Write what there is of one frame."""
        name = f'{self._number:06d}'
        cloud = frame.cloud
        if 'rgb' in self._parts:
            _save(self.path / 'rgb' / f'{name}.png', view.image)
        if cloud is not None:
            depth = np.ascontiguousarray(cloud.depth)
            if 'depth' in self._parts:
                np.save(self.path / 'depth' / f'{name}.npy', depth)
            if 'depth_color' in self._parts:
                _save(self.path / 'depth_color' / f'{name}.png', depth_picture(depth))
            if 'confidence' in self._parts:
                np.save(self.path / 'confidence' / f'{name}.npy', cloud.confidence)
            camera = cloud.grid.camera
            if camera is not None:
                numbers = (camera.fx, camera.fy, camera.cx, camera.cy)
                words = ' '.join(f'{number:.6f}' for number in numbers)
                self._intrinsics.write(f'{self._number} {camera.width} {camera.height} {words}\n')
        if frame.dynamic is not None and 'dynamic' in self._parts:
            mask = np.where(frame.dynamic, np.uint8(255), np.uint8(0))
            _save(self.path / 'dynamic' / f'{name}.png', mask)
        keyframe = '' if frame.keyframe is None else frame.keyframe.number
        share = round(frame.inlier_share, 4)
        row = (frame.stamp_ns, frame.state.value, frame.matches, share, keyframe, frame.reason)
        self._rows.writerow((self._number, *row))
        for file in (self._frames, self._intrinsics):
            file.flush()
        self._number += 1

    def finish(
        self,
        trajectory: Trajectory,
        keyframes: Sequence[Keyframe],
        scene: MapCloud,
        report: dict[str, Any],
    ) -> None:
        """Write what is known only at the end."""
        write_tum(self.path / 'trajectory.txt', trajectory)
        stamps = [item.stamp_ns for item in keyframes]
        poses = [item.T_world_camera for item in keyframes]
        write_tum(self.path / 'keyframes.txt', Trajectory.of(stamps, poses))
        write_ply(self.path / 'map.ply', scene.points, scene.colors, scene.weights)
        drawn = keyframes[:: max(1, -(-len(keyframes) // _CAMERAS_DRAWN))]
        size = _CAMERA_SIZE * (keyframes[0].typical_depth if keyframes else 1.0)
        cameras = [(item.T_world_camera, item.camera) for item in drawn]
        write_glb(self.path / 'scene.glb', scene.points, scene.colors, cameras, size)
        text = json.dumps(report, indent=2, sort_keys=False)
        (self.path / REPORT_FILE).write_text(text + '\n', encoding='utf-8')

    def discard(self) -> None:
        """Remove a folder into which nothing was written."""
        self.close()
        shutil.rmtree(self.path)

    def close(self) -> None:
        """Close the lists."""
        self._frames.close()
        self._intrinsics.close()


def depth_picture(depth: FloatArray) -> ImageArray:
    """Return depth as a picture: near is red, far is blue, unknown is black."""
    known = np.isfinite(depth) & (depth > 0.0)
    picture = np.zeros((*depth.shape, 3), np.uint8)
    if not known.any():
        return picture
    inverse = np.zeros(depth.shape, np.float32)
    inverse[known] = 1.0 / depth[known]
    low, high = np.percentile(inverse[known], (2, 98))
    level = np.clip((inverse - low) / max(float(high - low), 1e-12), 0.0, 1.0)
    colored = cv2.applyColorMap((level * 255.0).astype(np.uint8), cv2.COLORMAP_TURBO)
    picture[known] = cv2.cvtColor(colored, cv2.COLOR_BGR2RGB)[known]
    return picture


def _lines(path: Path, name: str, frames: int) -> list[str]:
    """Return the lines of a list about the first frames; what came later is written anew."""
    with (path / name).open(newline='', encoding='utf-8') as file:
        kept = []
        for line in file:
            number = line.replace(',', ' ').split()[0]
            if not number.isdecimal() or int(number) < frames:
                kept.append(line)
        return kept


def _claim(path: Path, replace: bool) -> None:
    """Make an empty folder; only a folder that holds a run is ever emptied."""
    if path.exists() and not path.is_dir():
        raise InvalidInput(f'{path} is a file; give the run a folder')
    if path.is_dir() and any(path.iterdir()):
        if not (path / FRAMES_FILE).is_file():
            raise InvalidInput(f'{path} holds other things than a run; give another folder')
        if path.is_symlink():
            raise InvalidInput(f'{path} is a link, so it is not replaced; give the folder itself')
        stranger = next(_strangers(path), None)
        if stranger is not None:
            raise InvalidInput(
                f'{path} holds {stranger.relative_to(path)}, which is no part of the run there, '
                'so it is not replaced; move it away, or give another folder'
            )
        if not replace:
            raise InvalidInput(f'{path} holds a run already; give another folder, or --force')
        shutil.rmtree(path)
    path.mkdir(parents=True, exist_ok=True)


def _strangers(path: Path) -> Iterator[Path]:
    """Yield what lies in a run's folder and was not written by a run."""
    for item in path.iterdir():
        if item.is_symlink() or item.name not in (*_FILES, *PER_FRAME, RESUME):
            yield item
        elif item.name in PER_FRAME:
            yield from (file for file in item.iterdir() if not _OF_A_FRAME.fullmatch(file.name))


def _save(path: Path, picture: np.ndarray[Any, Any]) -> None:
    image = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    if not cv2.imwrite(str(path), image):
        raise OSError(f'cannot write {path}')
