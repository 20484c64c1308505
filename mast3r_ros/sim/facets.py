# SPDX-License-Identifier: Apache-2.0
"""Flat polygons in space and how pictures are laid onto them.

The world is z up, in metres. Corners run counter-clockwise as seen from where a facet is visible;
a triangle repeats its last corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix

UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, eq=False)
class Facets:
    """Any number of facets.

    :param corners: (F, 4, 3) in metres.
    :param charts: (F, 4, 4) functions of the point (x, y, z, 1): texture s and t in tiles, light
        map column and row in pixels.
    :param material: (F,) row of the material atlas.
    :param surface: (F,) facets that share a number continue each other without a visible edge.
    """

    corners: Matrix
    charts: Matrix
    material: NDArray[np.int64]
    surface: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.corners)

    def planes(self) -> Matrix:
        """Return (F, 4): unit normal and offset, zero on the plane, positive where visible."""
        first, second, third = self.corners[:, 0], self.corners[:, 1], self.corners[:, 2]
        normals = np.cross(second - first, third - first)
        normals /= np.linalg.norm(normals, axis=1, keepdims=True)
        offsets = -np.einsum('fi,fi->f', normals, first)
        return np.concatenate([normals, offsets[:, None]], axis=1)

    def moved(self, T_target_source: Matrix) -> Facets:
        """Return the facets, pictures attached, at another place."""
        corners = self.corners @ T_target_source[:3, :3].T + T_target_source[:3, 3]
        charts = self.charts @ np.linalg.inv(T_target_source)
        return Facets(corners, charts, self.material, self.surface)


def join(parts: Sequence[Facets]) -> Facets:
    """Return all facets of several sets, surfaces numbered anew so that none is shared."""
    surfaces, used = [], 0
    for part in parts:
        surfaces.append(part.surface + used)
        used += int(part.surface.max()) + 1
    return Facets(
        np.concatenate([part.corners for part in parts]),
        np.concatenate([part.charts for part in parts]),
        np.concatenate([part.material for part in parts]),
        np.concatenate(surfaces),
    )


@dataclass(frozen=True)
class LightTile:
    """A square of the light map, ``pixels`` wide, that one face fills."""

    column: int
    row: int
    pixels: int


def box_facets(
    size: Matrix, material: int, tile_m: float, shift: Matrix, tiles: Sequence[LightTile]
) -> Facets:
    """Return the six faces of a box around the origin: four sides, top, bottom.

    :param shift: texture offset in tiles, so that no two boxes look alike.
    """
    faces = [_face(size, normal) for normal in side_normals()]
    charts = [_face_chart(*f, tile_m, shift, t) for f, t in zip(faces, tiles, strict=True)]
    corners = [(o, o + a, o + a + b, o + b) for o, a, b in faces]
    count = len(faces)
    return Facets(np.array(corners), np.array(charts), np.full(count, material), np.arange(count))


def sky_facets(distance_m: float, material: int, tiles: Sequence[LightTile]) -> Facets:
    """Return a huge box seen from inside, too far away to shift with the view."""
    size = np.full(3, 2.0 * distance_m)
    faces = [_face(size, normal) for normal in side_normals()]
    shift = np.zeros(2)
    charts = [_face_chart(*f, size[0], shift, t) for f, t in zip(faces, tiles, strict=True)]
    corners = [(o + b, o + a + b, o + a, o) for o, a, b in faces]  # turned inside
    count = len(faces)
    return Facets(np.array(corners), np.array(charts), np.full(count, material), np.arange(count))


def side_normals() -> Matrix:
    """Return the outward normals of a box in the order of its faces."""
    return np.array([[1, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]], float)


def face_points(size: Matrix, face: int, pixels: int) -> Matrix:
    """Return (pixels, pixels, 3): the points of a box's face under its light tile's pixels."""
    origin, across, up = _face(size, side_normals()[face])
    steps = np.linspace(0.0, 1.0, pixels)
    points: Matrix = origin + steps[None, :, None] * across + (1.0 - steps[:, None, None]) * up
    return points


def _face(size: Matrix, normal: Matrix) -> tuple[Matrix, Matrix, Matrix]:
    """Return a corner of a face and its two edges; across x up = normal."""
    if abs(normal[2]) < 0.5:
        across, up = np.cross(UP, normal), UP
    else:
        across, up = np.array([1.0, 0.0, 0.0]), np.array([0.0, normal[2], 0.0])
    across, up = across * size, up * size
    return 0.5 * (normal * size - across - up), across, up


def _face_chart(
    origin: Matrix, across: Matrix, up: Matrix, tile_m: float, shift: Matrix, tile: LightTile
) -> Matrix:
    """Return the four functions of a face; rows of pictures run down, ``up`` runs up."""
    a = _along(origin, across)
    b = _along(origin, up)
    one = np.array([0.0, 0.0, 0.0, 1.0])
    span = tile.pixels - 1
    return np.stack(
        [
            a * (np.linalg.norm(across) / tile_m) + shift[0] * one,
            b * (-np.linalg.norm(up) / tile_m) + shift[1] * one,
            a * span + tile.column * one,
            (one - b) * span + tile.row * one,
        ]
    )


def _along(origin: Matrix, edge: Matrix) -> Matrix:
    """Return the function of (x, y, z, 1) that is 0 at ``origin`` and 1 at the edge's end."""
    direction = edge / (edge @ edge)
    return np.append(direction, -direction @ origin)
