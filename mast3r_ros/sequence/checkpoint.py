# SPDX-License-Identifier: Apache-2.0
"""What a run needs to go on after it was interrupted, kept in the run folder while it works.

A keyframe's pictures and depth are written when they have changed; poses, edges and the poses of
all frames go into one small file that replaces the older one as a whole.
"""

from __future__ import annotations

import os
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import Grid, View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.frames import TrackedFrame, TrackingState
from mast3r_ros.sequence.keyframe import Keyframe
from mast3r_ros.sequence.keyframes import Keyframes
from mast3r_ros.sequence.pose_graph import Edge
from mast3r_ros.sequence.unknown_camera import centred_pinhole

FOLDER = 'resume'
_STATE = 'state.npz'
_FORMAT = 2


@dataclass(frozen=True, eq=False)
class Resumed:
    """What was read back.

    :param done: frames that were written.
    :param placed: those whose pose is known.
    :param unknown_camera: what is believed of a camera without calibration, if it is one.
    :param told_of_camera: what frames told of it.
    :param settings: the settings and the input as text, which must be the same.
    """

    done: int
    last_stamp_ns: int
    placed: list[TrackedFrame]
    keyframes: list[Keyframe]
    edges: list[Edge]
    current: int
    settings: str
    unknown_camera: Camera | None = None
    told_of_camera: tuple[tuple[float, float], ...] = ()


class Checkpoint:
    """Writes the state of a run, now and then.

    :param folder: the run folder.
    """

    def __init__(self, folder: Path, settings: str) -> None:
        self._folder = folder / FOLDER
        self._settings = settings
        self._written: dict[int, tuple[int, bool, float, bool]] = {}

    def write(
        self, keyframes: Keyframes, placed: list[TrackedFrame], done: int, last_stamp_ns: int
    ) -> None:
        """Write what has changed."""
        self._folder.mkdir(exist_ok=True)
        for keyframe in keyframes:
            version = (
                keyframe.opinions,
                keyframe.view is None,
                keyframe.camera.fx,
                keyframe.is_calibrated,
            )
            if self._written.get(keyframe.number) != version:
                _replace(_file(self._folder, keyframe.number), _arrays_of(keyframe))
                self._written[keyframe.number] = version
        edges, unknown = keyframes.edges, keyframes.unknown
        camera = unknown.camera
        state = {
            'format': _FORMAT,
            'settings': self._settings,
            'done': done,
            'last_stamp_ns': last_stamp_ns,
            'current': keyframes.current.number,
            'told_of_camera': np.array(unknown.told, np.float64).reshape(-1, 2),
            'unknown_camera': np.array(
                [] if camera is None else (camera.width, camera.height, camera.fx), np.float64
            ),
            'poses': np.stack([item.T_world_camera for item in keyframes]),
            'scales': np.array([item.scale for item in keyframes]),
            'edge_nodes': np.array([(e.a, e.b, e.certain) for e in edges], int).reshape(-1, 3),
            'edge_poses': np.array([e.T_a_b for e in edges]).reshape(-1, 4, 4),
            'edge_units': np.array([(e.scale_a_b, e.depth) for e in edges]).reshape(-1, 2),
            'frame_stamps': np.array([item.stamp_ns for item in placed], np.int64),
            'frame_states': np.array([item.state.value for item in placed], str),
            'frame_sources': np.array([item.scale_source.value for item in placed], str),
            'frame_keyframes': np.array(
                [-1 if item.keyframe is None else item.keyframe.number for item in placed], int
            ),
            'frame_poses': np.array([item.T_keyframe_camera for item in placed], np.float64),
        }
        _replace(self._folder / _STATE, state)

    def remove(self) -> None:
        """Remove it all: the run is over."""
        shutil.rmtree(self._folder, ignore_errors=True)


def read_checkpoint(folder: Path) -> Resumed | None:
    """Return what a run folder holds of an interrupted run; None where there is nothing."""
    path = folder / FOLDER / _STATE
    if not path.is_file():
        return None
    try:
        with np.load(path) as state:
            return _resumed(folder / FOLDER, state)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InvalidInput(
            f'{path.parent} is damaged ({error}); begin the run anew with --force'
        ) from error


def _resumed(folder: Path, state: Any) -> Resumed:
    if int(state['format']) != _FORMAT:
        raise ValueError('it was written by another version')
    keyframes = []
    for number, (T, scale) in enumerate(zip(state['poses'], state['scales'], strict=True)):
        with np.load(_file(folder, number)) as arrays:
            keyframes.append(_keyframe_of(number, T, float(scale), arrays))
    edges = [
        Edge(int(a), int(b), T, float(units[0]), float(units[1]), bool(certain))
        for (a, b, certain), T, units in zip(
            state['edge_nodes'], state['edge_poses'], state['edge_units'], strict=True
        )
    ]
    placed = [
        TrackedFrame(
            int(stamp),
            TrackingState(str(kind)),
            keyframes[number],
            T,
            scale_source=ScaleSource(str(source)),
        )
        for stamp, kind, source, number, T in zip(
            state['frame_stamps'],
            state['frame_states'],
            state['frame_sources'],
            state['frame_keyframes'],
            state['frame_poses'],
            strict=True,
        )
    ]
    return Resumed(
        int(state['done']),
        int(state['last_stamp_ns']),
        placed,
        keyframes,
        edges,
        int(state['current']),
        str(state['settings']),
        _pinhole_of(state['unknown_camera']),
        tuple((float(focal), float(bend)) for focal, bend in state['told_of_camera']),
    )


def _pinhole_of(facts: Any) -> Camera | None:
    return centred_pinhole(int(facts[0]), int(facts[1]), float(facts[2])) if len(facts) else None


def _file(folder: Path, number: int) -> Path:
    return folder / f'keyframe_{number:06d}.npz'


def _replace(path: Path, arrays: dict[str, Any]) -> None:
    """Write a file so that there is either the older one or the whole new one."""
    beside = path.with_suffix('.part')
    with beside.open('wb') as file:
        np.savez(file, **arrays)
    os.replace(beside, path)


def _arrays_of(keyframe: Keyframe) -> dict[str, Any]:
    camera, grid = keyframe.camera, keyframe.grid
    arrays: dict[str, Any] = {
        'K': camera.K,
        'distortion': np.array(camera.distortion, np.float64),
        'distortion_model': camera.distortion_model,
        'size': np.array([camera.width, camera.height]),
        'grid_image': grid.image,
        'grid_place': np.array([grid.scale, grid.offset]),
        'depth': keyframe.depth,
        'weight': keyframe.weight,
        'descriptor': keyframe.descriptor,
        'facts': np.array(
            [keyframe.stamp_ns, keyframe.opinions, keyframe.is_calibrated], np.int64
        ),
        'scale_source': keyframe.scale_source.value,
    }
    if keyframe.view is not None:
        arrays['image'] = keyframe.view.image
        if keyframe.view.mask is not None:
            arrays['mask'] = keyframe.view.mask
    if keyframe.slopes is not None:
        arrays['slopes'] = keyframe.slopes
    if keyframe.dynamic is not None:
        arrays['dynamic'] = keyframe.dynamic
    if keyframe.thinned is not None:
        for name, part in zip(('points', 'colors', 'trust'), keyframe.thinned, strict=True):
            arrays[f'thinned_{name}'] = part
    return arrays


def _keyframe_of(number: int, T: Any, scale: float, arrays: Any) -> Keyframe:
    width, height = (int(side) for side in arrays['size'])
    model, distortion = str(arrays['distortion_model']), tuple(arrays['distortion'].tolist())
    camera = Camera(width, height, arrays['K'], distortion, model)
    stamp_ns, opinions, is_calibrated = (int(fact) for fact in arrays['facts'])
    view = None
    if 'image' in arrays:
        mask = arrays.get('mask', None)
        view = View(arrays['image'], camera if is_calibrated else None, mask, stamp_ns)
    place = [tuple(pair) for pair in arrays['grid_place'].tolist()]
    grid = Grid(arrays['grid_image'], None, None, place[0], place[1])
    if view is not None:
        on_grid = camera.on_grid(grid.scale, grid.offset, grid.width, grid.height)
        grid = Grid(grid.image, None, on_grid, grid.scale, grid.offset)
    thinned = None
    if 'thinned_points' in arrays:
        thinned = arrays['thinned_points'], arrays['thinned_colors'], arrays['thinned_trust']
    return Keyframe(
        number,
        view,
        camera,
        grid,
        arrays['depth'],
        arrays['weight'],
        T,
        arrays['descriptor'],
        scale,
        ScaleSource(str(arrays['scale_source'])),
        stamp_ns,
        arrays.get('dynamic', None),
        opinions,
        thinned,
        is_calibrated=bool(is_calibrated),
        slopes=arrays.get('slopes', None),
    )
