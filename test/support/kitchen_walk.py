# SPDX-License-Identifier: Apache-2.0
"""The hand-held walk through a kitchen with its true depth, as frames for an oracle to answer."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from oracle_engine import OracleEngine
from real_data import kitchen_pairs

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.views import ImageArray

PERIOD_NS = 66_666_667
DEPTH_CAMERA = Camera.pinhole(640, 480, 585.0, 585.0, 320.0, 240.0)
_NO_DEPTH_MM = (0, 65535)


@dataclass(frozen=True, eq=False)
class WalkFrame:
    """A frame of the walk."""

    image: ImageArray
    depth: NDArray[np.float64]
    T_world_camera: NDArray[np.float64]
    stamp_ns: int


def kitchen_walk(every: int = 1, count: int | None = None) -> list[WalkFrame]:
    """Return every n-th frame of the walk; the picture only names it, as depth has its camera."""
    frames = [newer for newer, _ in kitchen_pairs(0, every)][:count]
    walk = []
    for number, frame in enumerate(frames):
        path = str(frame.path).replace('.color.jpg', '.depth.png')
        depth = cv2.imread(path, cv2.IMREAD_UNCHANGED).astype(np.float64)
        depth[np.isin(depth, _NO_DEPTH_MM)] = np.nan
        stamp_ns = number * every * PERIOD_NS
        walk.append(WalkFrame(frame.image, depth / 1e3, frame.T_world_camera, stamp_ns))
    return walk


def register_walk(engine: OracleEngine, walk: list[WalkFrame]) -> OracleEngine:
    """Tell an oracle the truth about the walk."""
    for frame in walk:
        T_camera_world = np.linalg.inv(frame.T_world_camera)
        engine.register(frame.image, frame.depth, DEPTH_CAMERA, T_camera_world)
    return engine
