# SPDX-License-Identifier: Apache-2.0
"""What every way of solving a pair shares: what is empty in the answer, and timed stages."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from mast3r_ros.core.results import FloatArray, InferenceResult, Output
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import EngineCancelled

MIN_SIDE_PX = 16  # of a picture that can be matched
MIN_FOUND_SHARE = 0.02  # of the pixels that have a match; less is chance

TOO_SMALL = f'the views, or what they share, are less than {MIN_SIDE_PX} pixels wide or high'
NOTHING_FOUND = (
    'hardly any pixel of one view is found again in the other: there is no texture, or they '
    'show different things'
)


class Stages:
    """Times the stages of one call, and ends the call between them when it is cancelled."""

    def __init__(self, cancelled: threading.Event) -> None:
        self._cancelled = cancelled
        self.timing_ms: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Run one stage."""
        self.check()
        start = time.perf_counter()
        yield
        spent_ms = (time.perf_counter() - start) * 1e3
        self.timing_ms[name] = self.timing_ms.get(name, 0.0) + spent_ms

    def check(self) -> None:
        """Raise :class:`EngineCancelled` if the call was cancelled."""
        if self._cancelled.is_set():
            raise EngineCancelled('the geometric engine was cancelled while it ran')


def completed(result: InferenceResult, outputs: Output) -> InferenceResult:
    """Return the result with all that was asked: what is not known has no point and no match."""
    grid_1, grid_2 = result.grid_1, result.grid_2
    parts: dict[str, Any] = {}
    if Output.CLOUD_1 in outputs and result.pts3d_1 is None:
        parts.update(pts3d_1=_nan(grid_1, 3), conf_1=_full(grid_1, 1.0))
    if Output.CLOUD_2 in outputs and result.pts3d_2 is None:
        parts.update(pts3d_2=_nan(grid_2, 3), conf_2=_full(grid_2, 1.0))
    if Output.WARP in outputs and result.warp_1_2 is None:
        parts.update(warp_1_2=_nan(grid_1, 2), warp_conf_1=_full(grid_1, 0.0))
    if Output.WARP in outputs and result.warp_2_1 is None:
        parts.update(warp_2_1=_nan(grid_2, 2))
    return replace(result, **parts)


def _full(grid: Grid, value: float) -> FloatArray:
    return np.full((grid.height, grid.width), value, np.float32)


def _nan(grid: Grid, channels: int) -> FloatArray:
    return np.full((grid.height, grid.width, channels), np.nan, np.float32)
