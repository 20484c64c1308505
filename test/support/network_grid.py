# SPDX-License-Identifier: Apache-2.0
"""The grid of a small network: its settings, its places, and pictures of known colours for it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.config import ModelConfig
from mast3r_ros.core.preprocessing import GridPlan


def small_model(resolution: int, **changes: Any) -> ModelConfig:
    return ModelConfig(variant='dune_vit_small', resolution=resolution, **changes)


def grid_places(plan: GridPlan) -> NDArray[np.float64]:
    u, v = np.meshgrid(np.arange(plan.grid_size[0]), np.arange(plan.grid_size[1]))
    return np.stack([u, v], axis=-1).astype(float)


def smooth_picture(width: int, height: int) -> NDArray[np.uint8]:
    """Return waves whose colour at any place is known: four across the width and the height."""
    u, v = np.meshgrid(np.arange(width), np.arange(height))
    return np.rint(wave_color(u, v, width, height)).astype(np.uint8)


def wave_color(u: NDArray[Any], v: NDArray[Any], width: int, height: int) -> NDArray[np.float64]:
    across = 127.5 + 120.0 * np.sin(8.0 * np.pi * (u + 0.5) / width)
    down = 127.5 + 120.0 * np.sin(8.0 * np.pi * (v + 0.5) / height)
    return np.stack([across, down, (across + down) / 2], axis=-1)
