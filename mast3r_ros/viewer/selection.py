# SPDX-License-Identifier: Apache-2.0
"""Which points of a cloud are shown: sure enough, near enough, and no more than the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.viewer.colours import CONFIDENCE, DEPTH, SteadyRange, coloured
from mast3r_ros.viewer.parts import CloudPart

COLOUR_BY = ('image', 'depth', 'confidence')

_SEED = 20
_SAMPLE = 20_000  # points that tell a share of all well enough


@dataclass(frozen=True)
class ShownPoints:
    """The points that are shown, in the optical frame of camera 1."""

    points: NDArray[np.float32]  # (N, 3)
    colors: NDArray[np.uint8]  # (N, 3) that they are shown in
    image_colors: NDArray[np.uint8]  # (N, 3) that the camera saw
    confidence_from: float  # the least confidence shown
    kept: int  # points that pass, before the budget
    spacing: float  # typical distance of two shown neighbours, in the cloud's unit


class Selection:
    """Chooses points; the same pixels every time, so that the picture does not swim."""

    def __init__(self) -> None:
        self.depth_range = SteadyRange()
        self.confidence_range = SteadyRange()
        self._lots: NDArray[np.float32] = np.empty(0, np.float32)

    def passing(
        self, cloud: CloudPart, hidden_percent: float, farthest: float
    ) -> tuple[NDArray[np.intp], float]:
        """Return the row-major places of points that pass, and the least confidence among them.

        :param hidden_percent: share of the least confident points that is left out.
        :param farthest: Z beyond which points are left out.
        """
        confidence, depth = cloud.confidence.reshape(-1), cloud.depth.reshape(-1)
        known = np.isfinite(depth) & np.isfinite(confidence)
        if not known.any():
            return np.empty(0, np.intp), math.nan
        if hidden_percent > 0:
            some = confidence[known][:: max(int(known.sum()) // _SAMPLE, 1)]
            least = float(np.quantile(some, min(hidden_percent, 100.0) / 100))
        else:
            least = float(confidence[known].min())
        return np.flatnonzero(known & (confidence >= least) & (depth <= farthest)), least

    def choose(
        self,
        cloud: CloudPart,
        *,
        hidden_percent: float,
        farthest: float,
        budget: int,
        colour_by: str = 'image',
    ) -> ShownPoints:
        """Return what is shown of a cloud."""
        places, least = self.passing(cloud, hidden_percent, farthest)
        kept = len(places)
        if kept > budget:
            places = places[self._lots_of(cloud.confidence.size)[places] < budget / kept][:budget]
        points = cloud.points.reshape(-1, 3)[places]
        colors = self._colours(cloud, colour_by).reshape(-1, 3)[places]
        seen = cloud.colors.reshape(-1, 3)[places]
        return ShownPoints(points, colors, seen, least, kept, _spacing(points, cloud, kept))

    def _lots_of(self, count: int) -> NDArray[np.float32]:
        """Return a lot from 0 to 1 for each pixel, always the same."""
        if len(self._lots) != count:
            self._lots = np.random.default_rng(_SEED).random(count, np.float32)
        return self._lots

    def _colours(self, cloud: CloudPart, colour_by: str) -> NDArray[np.uint8]:
        if colour_by == 'depth':
            near, far = self.depth_range.follow(cloud.depth)
            return coloured(-cloud.depth, -far, -near, DEPTH)
        if colour_by == 'confidence':
            ends = self.confidence_range.follow(cloud.known_confidence)
            return coloured(cloud.confidence, *ends, CONFIDENCE)
        return cloud.colors


def focal_px(cloud: CloudPart) -> float:
    """Return the focal length in grid pixels that the points themselves tell; NaN without any."""
    height, width = cloud.confidence.shape
    columns = np.arange(width, dtype=np.float32) - (width - 1) / 2
    far_out = np.abs(columns) > width / 8  # near the middle the quotient is all noise
    rows = cloud.points[:: max(height // 48, 1)][:, far_out]
    with np.errstate(divide='ignore', invalid='ignore'):
        found = columns[far_out] * rows[..., 2] / rows[..., 0]
    found = found[np.isfinite(found) & (found > 0)]
    return float(np.median(found)) if found.size else math.nan


def _spacing(points: NDArray[np.float32], cloud: CloudPart, kept: int) -> float:
    focal = focal_px(cloud)
    if len(points) == 0 or not math.isfinite(focal):
        return 0.01
    return float(np.median(points[:, 2])) / focal * math.sqrt(kept / len(points))
