# SPDX-License-Identifier: Apache-2.0
"""How wrong a depth map is, held against the true one pixel by pixel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import Grid, View
from mast3r_ros.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class DepthError:
    """The error of each pixel of a grid.

    :param error: (H, W) distance from the true depth in metres, NaN where either is unknown.
    :param factor: what the depth was multiplied by before; 1 where its unit was known.
    :param covered: share of the pixels with a true depth that have one of their own.
    """

    error: FloatArray
    factor: float
    covered: float

    def quantile(self, share: float) -> float:
        """Return the error that this share of the pixels does not exceed; NaN where none is."""
        known = self.error[np.isfinite(self.error)]
        return float(np.quantile(known, share)) if known.size else float('nan')


def depth_error(
    depth: FloatArray, grid: Grid, view: View, truth: FloatArray, *, unit_known: bool
) -> DepthError:
    """Hold depth (H, W) on a view's grid against the true depth of that view.

    :param truth: (height, width) of the view as it came, in metres, NaN where unknown.
    :param unit_known: the depth is in metres; otherwise the median ratio makes it so first.
    """
    if truth.shape != (view.height, view.width):
        raise InvalidInput(
            f'the true depth is {truth.shape[1]}x{truth.shape[0]} but its image is '
            f'{view.width}x{view.height}; give one of the same size'
        )
    true_depth = _on_grid(truth, grid)
    both = np.isfinite(depth) & np.isfinite(true_depth)
    factor = 1.0
    if not unit_known and both.any():
        factor = float(np.median(true_depth[both] / depth[both]))
    error = np.abs(depth * np.float32(factor) - true_depth)
    with_truth = int(np.isfinite(true_depth).sum())
    return DepthError(error, factor, int(both.sum()) / with_truth if with_truth else 0.0)


def _on_grid(values: FloatArray, grid: Grid) -> FloatArray:
    """Return an image's values at the grid's pixels: the nearest, never a mean over an edge."""
    columns = grid.to_image(np.stack([np.arange(grid.width), np.zeros(grid.width)], axis=-1))
    rows = grid.to_image(np.stack([np.zeros(grid.height), np.arange(grid.height)], axis=-1))
    u = np.clip(np.rint(columns[:, 0]).astype(int), 0, values.shape[1] - 1)
    v = np.clip(np.rint(rows[:, 1]).astype(int), 0, values.shape[0] - 1)
    return values[np.ix_(v, u)]
