# SPDX-License-Identifier: Apache-2.0
"""Procedural textures that repeat without a seam and have detail at every scale.

A texture is a square uint8 RGB tile around mid-grey; light and tint multiply it.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.float32]  # (N, N)
Tile = NDArray[np.uint8]  # (N, N, 3)


def plain(rng: np.random.Generator, pixels: int) -> Tile:
    """Return a tile that leaves light and tint as they are."""
    return np.full((pixels, pixels, 3), 128, np.uint8)


def soil(rng: np.random.Generator, pixels: int) -> Tile:
    """Return sandy earth with tufts of dry grass and pebbles."""
    earth = noise(rng, pixels, 0.95)
    tufts = _smoothstep(noise(rng, pixels, 1.1) + 0.4 * earth, 0.1, 1.2)
    colour = _mix((150, 130, 102), (108, 114, 74), tufts)
    colour *= (1.0 + 0.20 * earth)[..., None]
    size = np.asarray(cv2.GaussianBlur(noise(rng, pixels, 0.2), (0, 0), pixels / 170), np.float32)
    size /= size.std()
    stones = _smoothstep(size, 1.5, 1.75) * (1.0 - 0.7 * tufts)
    relief = 1.0 + 0.35 * np.clip(size - np.roll(size, (2, 2), (0, 1)), -1.2, 1.2)
    stone = np.array((172, 166, 156), np.float32) * (relief * (1.0 + 0.1 * earth))[..., None]
    return _to_tile(colour + stones[..., None] * (stone - colour))


def bricks(rng: np.random.Generator, pixels: int) -> Tile:
    """Return a running bond: bricks of many tints, pale mortar."""
    rows, columns = 40, 16
    v, u = np.mgrid[0:pixels, 0:pixels].astype(np.float32) / pixels
    row = np.floor(v * rows).astype(int)
    along = (u * columns + 0.5 * (row % 2)) % columns
    column = np.floor(along).astype(int)
    gap = np.minimum(
        np.minimum(along % 1, 1 - along % 1) * rows / columns,
        np.minimum(v * rows % 1, 1 - v * rows % 1),
    )
    rough = noise(rng, pixels, 0.9)
    mortar = 1.0 - _smoothstep(gap + 0.02 * rough, 0.06, 0.13)
    tint = 1.0 + 0.22 * rng.standard_normal((rows, columns)).astype(np.float32)[row, column]
    warm = 0.5 + 0.5 * rng.random((rows, columns)).astype(np.float32)[row, column]
    colour = _mix((128, 84, 70), (168, 96, 70), warm) * (tint * (1.0 + 0.16 * rough))[..., None]
    pale = np.array((176, 170, 160), np.float32) * (1.0 + 0.10 * rough)[..., None]
    return _to_tile(colour + mortar[..., None] * (pale - colour))


def planks(rng: np.random.Generator, pixels: int) -> Tile:
    """Return boards of weathered wood with grain, lying across."""
    boards = 20
    v = np.arange(pixels, dtype=np.float32)[:, None] / pixels * boards
    board = np.floor(v).astype(int) + np.zeros((1, pixels), int)
    grain = noise(rng, pixels, 0.9, stretch=14.0)
    rough = noise(rng, pixels, 0.8)
    tint = 1.0 + 0.18 * rng.standard_normal(boards).astype(np.float32)[board]
    gap = 1.0 - 0.75 * (1.0 - _smoothstep(np.minimum(v % 1, 1 - v % 1), 0.02, 0.06))
    value = tint * (1.0 + 0.20 * grain + 0.10 * rough) * gap
    return _to_tile(np.array((158, 124, 84), np.float32) * value[..., None])


def concrete(rng: np.random.Generator, pixels: int) -> Tile:
    """Return stained concrete with pores."""
    stains = noise(rng, pixels, 1.3)
    rough = noise(rng, pixels, 0.7)
    pores = _smoothstep(noise(rng, pixels, 0.35), 1.9, 2.3)
    value = (1.0 + 0.11 * stains + 0.09 * rough) * (1.0 - 0.5 * pores)
    colour = _mix((158, 154, 146), (138, 140, 130), _smoothstep(stains, -0.5, 1.5))
    return _to_tile(colour * value[..., None])


def mosaic(rng: np.random.Generator, pixels: int) -> Tile:
    """Return squares of many greys in three sizes: paint that is easy to recognise."""
    value = np.ones((pixels, pixels), np.float32)
    for cells, weight in ((12, 0.30), (32, 0.26), (96, 0.18)):
        squares = rng.uniform(-1.0, 1.0, (cells, cells)).astype(np.float32)
        index = np.arange(pixels) * cells // pixels
        value += weight * squares[index[:, None], index[None, :]]
    value *= 1.0 + 0.07 * noise(rng, pixels, 0.8)
    return _to_tile(138.0 * np.repeat(value[..., None], 3, axis=2))


# In the order of the atlas; a facet names its material by the index here.
MATERIALS: tuple[Callable[[np.random.Generator, int], Tile], ...] = (
    plain,
    soil,
    bricks,
    planks,
    concrete,
    mosaic,
)
PLAIN, SOIL, BRICKS, PLANKS, CONCRETE, MOSAIC = range(len(MATERIALS))


def noise(rng: np.random.Generator, pixels: int, fall: float, *, stretch: float = 1.0) -> Plane:
    """Return periodic noise of mean 0 and deviation 1.

    :param fall: amplitude falls with this power of the frequency; 1 looks alike at every scale.
    :param stretch: how much longer its features are along u than along v.
    """
    spectrum = np.fft.rfft2(rng.standard_normal((pixels, pixels), dtype=np.float32))
    frequency = np.hypot(
        stretch * np.fft.rfftfreq(pixels)[None, :], np.fft.fftfreq(pixels)[:, None]
    )
    frequency[0, 0] = np.inf
    frequency = np.maximum(frequency, 2.0 / pixels)
    field = np.fft.irfft2(spectrum / frequency**fall, s=(pixels, pixels)).astype(np.float32)
    normal: Plane = field / field.std()
    return normal


def _smoothstep(value: Plane, low: float, high: float) -> Plane:
    x = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(x * x * (3.0 - 2.0 * x), np.float32)


def _mix(first: tuple[int, int, int], second: tuple[int, int, int], part: Plane) -> Plane:
    a, b = np.array(first, np.float32), np.array(second, np.float32)
    return np.asarray(a + part[..., None] * (b - a), np.float32)


def _to_tile(colour: Plane) -> Tile:
    return np.clip(np.rint(colour), 0, 255).astype(np.uint8)
