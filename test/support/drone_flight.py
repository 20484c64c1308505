# SPDX-License-Identifier: Apache-2.0
"""A short piece of the simulated flight, with boxes that move or that all stand still."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.poses import stereo_pose
from mast3r_ros.core.views import ImageArray, View
from mast3r_ros.sequence.frames import SequenceFrame
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.flight import Flight
from mast3r_ros.sim.render import Renderer
from mast3r_ros.sim.scene import Scene


@dataclass(frozen=True, eq=False)
class Shot:
    """One stereo pair of the flight; ``moves`` (H, W) is True on the boxes that move."""

    left: ImageArray
    right: ImageArray
    moves: NDArray[np.bool_]
    T_world_left: NDArray[np.float64]
    stamp_ns: int
    cameras: tuple[Camera, Camera]

    def frame(self, *, stereo: bool = True) -> SequenceFrame:
        """Return it as a frame of a moving camera."""
        left, right = self.cameras
        view = View(self.left, left, stamp_ns=self.stamp_ns)
        if not stereo:
            return SequenceFrame(view)
        other = View(self.right, right, stamp_ns=self.stamp_ns)
        return SequenceFrame(view, other, stereo_pose(left, right))


@cache
def flight(
    frames: int,
    *,
    first: int = 0,
    width: int = 320,
    rate_hz: float = 15.0,
    boxes_move: bool = True,
    raw: bool = False,
) -> tuple[Shot, ...]:
    """Return some frames of a flight of 16 s, from the ``first`` on."""
    config = SimConfig(width=width, height=width * 3 // 4, rate_hz=rate_hz, raw=raw)
    scene = Scene.make(config.seed, config.period_s)
    cameras = config.cameras()
    way, renderers = Flight(config.period_s), [Renderer(scene, cam, 1.5) for cam in cameras]
    T_right_left = stereo_pose(*cameras)
    shots = []
    for number in range(first, first + frames):
        time_s = number / config.rate_hz
        facets = scene.facets(time_s if boxes_move else 0.0)
        T_left = way.pose(time_s)
        poses = (T_left, T_left @ np.linalg.inv(T_right_left))
        left, right = (
            renderer.render(facets, pose, np.random.default_rng([number, side]))
            for side, (renderer, pose) in enumerate(zip(renderers, poses, strict=True))
        )
        moves = (left.mask == 0) & boxes_move
        stamp_ns = config.stamp_ns(number)
        shots.append(Shot(left.image, right.image, moves, T_left, stamp_ns, cameras))
    return tuple(shots)
