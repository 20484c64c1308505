# SPDX-License-Identifier: Apache-2.0
"""Where things stand: a group in the middle, low crates on the way, walls and pillars around.

The drone's way (flight.py) is a ring of about 3.4 m radius, 2.4 m up. Whatever is below it is low,
and whatever is high stands well inside or outside of it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.sim.boxes import Box, Mover, pose_about_z
from mast3r_ros.sim.materials import BRICKS, CONCRETE, MOSAIC, PLANKS
from mast3r_ros.sim.terrain import Terrain

Size = tuple[float, float, float]
Tint = tuple[float, float, float]
Place = tuple[float, float, float]

_SUNK_M = 0.06  # how deep a box stands in the lowest ground below it
_CRATES = 7
_AROUND = 12
_MOVER_TINTS: tuple[Tint, ...] = (
    (1.75, 0.78, 0.30),
    (0.35, 1.15, 1.60),
    (1.60, 0.45, 0.95),
    (1.60, 1.40, 0.35),
)


def place_boxes(
    rng: np.random.Generator, terrain: Terrain
) -> tuple[tuple[Box, ...], tuple[Mover, ...]]:
    """Return the boxes that stand and those that move."""
    turn = rng.uniform(0.0, 2.0 * np.pi)
    still = (
        *_middle(terrain, turn),
        *(_crate(rng, terrain, index) for index in range(_CRATES)),
        *(_around(rng, terrain, index) for index in range(_AROUND)),
    )
    return still, tuple(_mover(rng, terrain, index, turn) for index in range(len(_MOVER_TINTS)))


def _mover(rng: np.random.Generator, terrain: Terrain, index: int, turn: float) -> Mover:
    """Return a moving box, inside or outside of the ring of the flight in turn."""
    angle = turn + 0.35 + 0.5 * np.pi * index
    radius = (1.75, 5.0)[index % 2]
    size = rng.uniform((0.45, 0.45, 0.4), (0.75, 0.65, 0.6))
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    height = _ground(terrain, x, y) + 1.0
    box = _at(size, (x, y, height), angle, MOSAIC, _MOVER_TINTS[index], 2.0)
    beats = ((2, 2, 3), (3, 3, 2), (1, 2, 4), (2, 1, 3))[index]
    turns = (1, -2, 2, -1)[index]
    return Mover(box, (0.45, 0.45, 0.16), beats, turns, rng.uniform(0.0, 2.0 * np.pi))


def _middle(terrain: Terrain, turn: float) -> list[Box]:
    """Return a pillar and two crates, one with another on top."""
    pillar = _standing(terrain, (0.62, 0.62, 2.3), 0.25, turn, turn + 0.4, CONCRETE)
    large = _standing(terrain, (0.95, 0.95, 0.95), 0.85, turn + 2.4, turn + 0.9, PLANKS)
    small = _standing(terrain, (0.6, 0.6, 0.6), 1.05, turn - 1.7, turn + 0.2, PLANKS)
    top = large.T_world_box[2, 3] + 0.5 * large.size[2]
    x, y = large.T_world_box[:2, 3]
    size = np.array([0.5, 0.5, 0.42])
    on_top = _at(size, (x, y, top + 0.21), turn, PLANKS, (1.15, 0.95, 0.8), 4.0)
    return [pillar, large, small, on_top]


def _crate(rng: np.random.Generator, terrain: Terrain, index: int) -> Box:
    """Return a low crate, just inside or outside of the ring, or below it."""
    angle = 2.0 * np.pi * (index + rng.uniform(-0.25, 0.25)) / _CRATES
    radius = rng.uniform(2.3, 4.6)
    size = tuple(rng.uniform((0.4, 0.4, 0.35), (0.9, 0.8, 0.65)))
    material = (PLANKS, CONCRETE, PLANKS, BRICKS)[index % 4]
    return _standing(terrain, size, radius, angle, rng.uniform(0, np.pi), material)


def _around(rng: np.random.Generator, terrain: Terrain, index: int) -> Box:
    angle = 2.0 * np.pi * (index + rng.uniform(-0.2, 0.2)) / _AROUND
    kinds: tuple[Callable[[], tuple[Size, int]], ...] = (
        lambda: ((0.3, rng.uniform(2.2, 3.2), rng.uniform(1.4, 2.0)), BRICKS),
        lambda: ((0.55, 0.55, rng.uniform(2.4, 3.2)), CONCRETE),
        lambda: ((rng.uniform(0.9, 1.4), rng.uniform(1.2, 1.9), rng.uniform(0.9, 1.5)), PLANKS),
    )
    size, material = kinds[index % len(kinds)]()
    radius = rng.uniform(5.9, 7.2)
    return _standing(terrain, size, radius, angle, angle + rng.uniform(-0.35, 0.35), material)


def _standing(
    terrain: Terrain, size: Size, radius: float, angle: float, turn: float, material: int
) -> Box:
    """Return a box that stands on the ground, its foot in the earth all around."""
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    foot = terrain.lowest_near(x, y, 0.5 * float(np.hypot(size[0], size[1]))) - _SUNK_M
    visible = _ground(terrain, x, y) + size[2]  # the asked height counts from the ground
    full = np.array([size[0], size[1], visible - foot])
    return _at(full, (x, y, 0.5 * (foot + visible)), turn, material, (1.0, 1.0, 1.0), 4.0)


def _at(size: Matrix, place: Place, turn: float, material: int, tint: Tint, tile_m: float) -> Box:
    T_world_box = pose_about_z(turn)
    T_world_box[:3, 3] = place
    return Box(size, T_world_box, material, tint, tile_m)


def _ground(terrain: Terrain, x: float, y: float) -> float:
    return float(terrain.heights_at(np.array([[x]]), np.array([[y]]))[0, 0])
