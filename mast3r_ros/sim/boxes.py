# SPDX-License-Identifier: Apache-2.0
"""Boxes that stand and boxes that move on closed paths."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mast3r_ros.core.cameras import Matrix


@dataclass(frozen=True, eq=False)
class Box:
    """A box; ``T_world_box`` puts its centre into the world.

    :param size: (3,) edges in metres.
    :param tile_m: what one tile of its texture spans.
    """

    size: Matrix
    T_world_box: Matrix
    material: int
    tint: tuple[float, float, float] = (1.0, 1.0, 1.0)
    tile_m: float = 4.0


@dataclass(frozen=True, eq=False)
class Mover:
    """A box on a closed path around the place where it is put.

    :param swing: (3,) half of its way along x, y and z in metres.
    :param beats: (3,) whole swings in one loop.
    :param turns: whole turns about the vertical in one loop.
    """

    box: Box
    swing: tuple[float, float, float]
    beats: tuple[int, int, int]
    turns: int
    start: float

    def at(self, phase: float) -> Box:
        """Return the box at a phase of the loop, 0 to 2 pi."""
        T = self.box.T_world_box @ pose_about_z(self.turns * phase)
        angles = np.array(self.beats) * phase + self.start + np.array([0.0, 0.5 * np.pi, 1.0])
        T[:3, 3] += np.array(self.swing) * np.sin(angles)
        return replace(self.box, T_world_box=T)


def pose_about_z(angle: float) -> Matrix:
    """Return the 4x4 transform that turns about the vertical, in radians."""
    T = np.eye(4)
    T[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return T
