# SPDX-License-Identifier: Apache-2.0
"""The colour of a facet at a place in the picture: its texture times the light that is baked."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.sim.facets import Facets
from mast3r_ros.sim.mipmaps import Colours, sample
from mast3r_ros.sim.projection import Projected
from mast3r_ros.sim.scene import Scene
from mast3r_ros.sim.visibility import Places

_STRETCH_BLUR = 0.35  # 0 filters for the area that a pixel covers, 1 for its longer side
_NEUTRAL_LIGHT = 128.0
_LEVEL_OF_DEPTH = 1.5 + 0.5 * _STRETCH_BLUR


class Shader:
    """Colours of a projected scene at any places in the picture."""

    def __init__(self, scene: Scene, facets: Facets, seen: Projected) -> None:
        self.seen = seen
        self._textures, self._light = scene.textures, scene.light
        functions = np.concatenate([seen.inverse_depth[:, None], seen.charts], axis=1)
        self._functions = np.ascontiguousarray(functions.astype(np.float32).transpose(1, 2, 0))
        self._material = facets.material.astype(np.float32)
        self._level = _levels(seen, scene.textures.pixels)

    def colours(self, numbers: NDArray[np.intp], u: Places, v: Places) -> Colours:
        """Return (N, 3) the colour of each facet at its place."""
        depth = 1.0 / self._function(0, numbers, u, v)
        s, t, light_u, light_v = (
            self._function(row, numbers, u, v) * depth for row in range(1, 5)
        )
        level = self._level.take(numbers) + np.float32(_LEVEL_OF_DEPTH) * np.log2(depth)
        texture = self._textures.look_up(s, t, self._material.take(numbers), level)
        light = sample(self._light, light_u, light_v)
        return np.asarray(cv2.multiply(texture, light, scale=1.0 / _NEUTRAL_LIGHT), np.uint8)

    def _function(self, index: int, numbers: NDArray[np.intp], u: Places, v: Places) -> Places:
        a, b, c = self._functions[index]
        value: Places = a.take(numbers) * u + b.take(numbers) * v + c.take(numbers)
        return value


def _levels(seen: Projected, pixels: int) -> Places:
    """Return (F,) what the depth's part is added to: the texture level for one pixel of picture.

    The area in texels under a pixel is the determinant of the map from pixel to texel: that of
    the three functions s, t and inverse depth, over the cube of the latter. The area's root is too
    fine a measure along a surface seen at a slant; its stretch is depth over distance.
    """
    functions = np.stack([seen.charts[:, 0], seen.charts[:, 1], seen.inverse_depth], axis=1)
    area = np.abs(np.linalg.det(functions)) * pixels**2
    away = np.maximum(np.abs(seen.distance_m), 1e-6)
    level = 0.5 * np.log2(np.maximum(area, 1e-30)) - 0.5 * _STRETCH_BLUR * np.log2(away)
    return np.asarray(level, np.float32)
