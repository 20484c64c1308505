# SPDX-License-Identifier: Apache-2.0
"""The light map: sun, sky, shadows of what stands still, tint and wear, baked into one image.

Ground at the top left, the sky's tiles at its right, the boxes' faces below. 128 leaves a texture
as it is.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.sim.boxes import Box
from mast3r_ros.sim.facets import LightTile, face_points, side_normals
from mast3r_ros.sim.materials import noise
from mast3r_ros.sim.terrain import HALF_WIDTH_M, Terrain

GROUND_PIXELS = 768
FACE_PIXELS = 32
SKY_PIXELS = 256
FACES = 6
_HEIGHT, _WIDTH = FACES * SKY_PIXELS, GROUND_PIXELS + SKY_PIXELS
_SUN = np.array([-0.50, 0.42, 0.76]) / np.linalg.norm([-0.50, 0.42, 0.76])
_SUN_COLOUR = np.array([0.96, 0.89, 0.75])
_SKY_COLOUR = np.array([0.52, 0.55, 0.60])
_NEUTRAL = 128.0


def face_tiles(box: int) -> list[LightTile]:
    """Return the light tiles of the ``box``-th box."""
    per_row = GROUND_PIXELS // FACE_PIXELS
    places = [divmod(box * FACES + face, per_row) for face in range(FACES)]
    return [
        LightTile(column * FACE_PIXELS, GROUND_PIXELS + row * FACE_PIXELS, FACE_PIXELS)
        for row, column in places
    ]


def sky_tiles() -> list[LightTile]:
    """Return the light tiles of the sky's box."""
    return [LightTile(GROUND_PIXELS, face * SKY_PIXELS, SKY_PIXELS) for face in range(FACES)]


def bake(
    rng: np.random.Generator, terrain: Terrain, still: Sequence[Box], moving: Sequence[Box]
) -> NDArray[np.uint8]:
    """Return the light map of a scene; moving boxes throw no shadow."""
    picture = np.full((_HEIGHT, _WIDTH, 3), 1.0, np.float32)
    picture[:GROUND_PIXELS, :GROUND_PIXELS] = _ground(rng, terrain, still)
    wear = noise(rng, 256, 1.1)
    for index, box in enumerate([*still, *moving]):
        for face, tile in enumerate(face_tiles(index)):
            corner = rng.integers(0, 256 - FACE_PIXELS, 2)
            patch = wear[corner[0] :, corner[1] :][:FACE_PIXELS, :FACE_PIXELS]
            _put(picture, tile, _face(box, face, terrain, patch))
    clouds = noise(rng, 512, 1.25)
    for face, tile in enumerate(sky_tiles()):
        _put(picture, tile, _sky(face, clouds))
    baked: NDArray[np.uint8] = np.clip(np.rint(_NEUTRAL * picture), 0, 255).astype(np.uint8)
    return baked


def _put(picture: NDArray[np.float32], tile: LightTile, value: Matrix) -> None:
    rows = slice(tile.row, tile.row + tile.pixels)
    picture[rows, tile.column : tile.column + tile.pixels] = value


def _ground(rng: np.random.Generator, terrain: Terrain, still: Sequence[Box]) -> Matrix:
    axis = np.linspace(-HALF_WIDTH_M, HALF_WIDTH_M, GROUND_PIXELS)
    x, y = np.meshgrid(axis, axis)
    z = terrain.heights_at(x, y).astype(np.float64)
    step = axis[1] - axis[0]
    slope_y, slope_x = np.gradient(z, step)
    normals = np.stack([-slope_x, -slope_y, np.ones_like(z)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    points = np.stack([x, y, z], axis=-1)
    sun, sky = np.ones_like(z), np.ones_like(z)
    for box in still:
        near = _neighbourhood(box, 1.0 / step)
        sun[near][_in_shadow(points[near], box)] = 0.0
        sky[near] *= 1.0 - 0.55 * np.exp(-np.maximum(_distance(points[near], box), 0.0) / 0.22)
    soft: Matrix = np.asarray(cv2.GaussianBlur(sun, (0, 0), 1.2), np.float64)
    return _meadow(rng) * _lit(normals, soft, sky)


def _neighbourhood(box: Box, pixels_per_m: float) -> tuple[slice, slice]:
    """Return the rows and columns of the ground that a box can darken."""
    reach = 1.0 + 0.5 * np.hypot(*box.size[:2]) + 1.5 * box.size[2]
    low = (box.T_world_box[:2, 3] - reach + HALF_WIDTH_M) * pixels_per_m
    high = low + 2.0 * reach * pixels_per_m
    column, row = np.clip(low, 0, None).astype(int)
    column_stop, row_stop = np.ceil(high).astype(int)
    return slice(row, row_stop), slice(column, column_stop)


def _meadow(rng: np.random.Generator) -> Matrix:
    """Return the ground's own large patches: greener, redder, darker."""
    hue, value = noise(rng, 512, 1.35), noise(rng, 512, 1.0)
    dry, green = np.array([1.10, 1.00, 0.88]), np.array([0.86, 0.97, 0.80])
    part = (0.5 + 0.5 * np.tanh(1.4 * hue))[..., None]
    colour = (dry + part * (green - dry)) * (1.0 + 0.16 * value)[..., None]
    return np.asarray(cv2.resize(colour, (GROUND_PIXELS, GROUND_PIXELS)))


def _face(box: Box, face: int, terrain: Terrain, wear: NDArray[np.float32]) -> Matrix:
    rotation, place = box.T_world_box[:3, :3], box.T_world_box[:3, 3]
    points = face_points(box.size, face, FACE_PIXELS) @ rotation.T + place
    normals = np.broadcast_to(rotation @ side_normals()[face], points.shape)
    height = points[..., 2] - terrain.heights_at(points[..., 0], points[..., 1])
    sky = (0.85 + 0.15 * normals[..., 2]) * (1.0 - 0.55 * np.exp(-np.maximum(height, 0.0) / 0.3))
    edge = np.ones((FACE_PIXELS, FACE_PIXELS))
    edge[1:-1, 1:-1] = 0.0
    worn = 1.0 + 0.13 * wear - 0.22 * cv2.GaussianBlur(edge, (0, 0), 1.0)
    return np.asarray(box.tint * worn[..., None] * _lit(normals, np.ones(sky.shape), sky))


def _lit(normals: Matrix, sun: Matrix, sky: Matrix) -> Matrix:
    """Return the light that arrives: a warm sun, as far as it is seen, and a blue sky."""
    facing = np.maximum(normals @ _SUN, 0.0) * sun
    return np.asarray(facing[..., None] * _SUN_COLOUR + sky[..., None] * _SKY_COLOUR)


def _in_shadow(points: Matrix, box: Box) -> NDArray[np.bool_]:
    """Return where the way to the sun passes through the box."""
    rotation, place = box.T_world_box[:3, :3], box.T_world_box[:3, 3]
    start, way = (points - place) @ rotation, _SUN @ rotation
    enters, leaves = np.full(start.shape[:2], -np.inf), np.full(start.shape[:2], np.inf)
    for axis in range(3):
        half = 0.5 * np.copysign(box.size[axis], way[axis])
        pace = np.copysign(max(abs(way[axis]), 1e-9), way[axis])
        np.maximum(enters, (-half - start[..., axis]) / pace, out=enters)
        np.minimum(leaves, (half - start[..., axis]) / pace, out=leaves)
    return np.asarray((enters < leaves) & (leaves > 0.0))


def _distance(points: Matrix, box: Box) -> Matrix:
    """Return the way over the ground from each point to the box, negative inside."""
    rotation, place = box.T_world_box[:3, :3], box.T_world_box[:3, 3]
    local = (points - place) @ rotation
    beyond = np.abs(local) - 0.5 * box.size
    return np.maximum(beyond[..., 0], beyond[..., 1])


def _sky(face: int, clouds: NDArray[np.float32]) -> Matrix:
    """Return the sky on one tile, by the direction it is seen in."""
    way = face_points(np.full(3, 2.0), face, SKY_PIXELS)
    up = np.maximum(way[..., 2] / np.linalg.norm(way, axis=-1), 0.0)
    flat = (way[..., :2] / (up + 0.18)[..., None] * 60.0).astype(np.float32)
    cover = cv2.remap(
        clouds, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP
    )
    clear = np.clip(6.0 * up, 0.0, 1.0)  # haze hides the clouds at the horizon
    white = (clear * np.clip(0.9 * cover + 0.1, 0.0, 1.0))[..., None]
    blue = np.array([1.50, 1.64, 1.78]) + up[..., None] * (np.array([-0.9, -0.55, -0.1]))
    return np.asarray(blue + white * (np.array([1.85, 1.85, 1.84]) - blue))
