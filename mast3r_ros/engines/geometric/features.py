# SPDX-License-Identifier: Apache-2.0
"""What the geometric engine remembers of one view."""

from __future__ import annotations

import cv2
import numpy as np

from mast3r_ros.core.engine import Features
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import Grid
from mast3r_ros.engines.geometric.pixels import GrayArray
from mast3r_ros.errors import InvalidInput

ENGINE_KEY = 'geometric'

_CELLS = 4  # a side
_DIRECTIONS = 8
_SMALL_PX = 64  # a side


class GeometricFeatures(Features):
    """A grey picture."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid, ENGINE_KEY)
        self._gray: GrayArray | None = np.asarray(cv2.cvtColor(grid.image, cv2.COLOR_RGB2GRAY))

    @property
    def gray(self) -> GrayArray:
        """The grey picture (H, W)."""
        if self._gray is None:
            raise InvalidInput('these features were released; encode the view again')
        return self._gray

    @property
    def nbytes(self) -> int:
        """Memory it holds, in bytes."""
        return 0 if self._gray is None else self._gray.nbytes

    def global_descriptor(self) -> FloatArray:
        """Return directions of edges over a coarse grid of cells: one unit vector."""
        size = (_SMALL_PX, _SMALL_PX)
        small = cv2.resize(self.gray, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        dx, dy = cv2.Sobel(small, cv2.CV_32F, 1, 0), cv2.Sobel(small, cv2.CV_32F, 0, 1)
        direction = np.floor((np.arctan2(dy, dx) / (2 * np.pi) + 0.5) * _DIRECTIONS).astype(int)
        row, column = np.divmod(np.arange(_SMALL_PX * _SMALL_PX), _SMALL_PX)
        cell = row * _CELLS // _SMALL_PX * _CELLS + column * _CELLS // _SMALL_PX
        slot = cell * _DIRECTIONS + direction.ravel() % _DIRECTIONS
        strength = np.hypot(dx, dy).ravel()
        counts = np.bincount(slot, strength, _CELLS * _CELLS * _DIRECTIONS) + 1e-6
        return np.asarray(counts / np.linalg.norm(counts), np.float32)

    def release(self) -> None:
        """Give the picture back."""
        self._gray = None
