# SPDX-License-Identifier: Apache-2.0
"""What every way of solving a pair shares: the empty answer, and stages that are timed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

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


def empty_result(grid_1: Grid, grid_2: Grid, outputs: Output, *notes: str) -> InferenceResult:
    """Return the answer that knows nothing: no point, no match, confidence 1, and why."""
    one, two, warp = Output.CLOUD_1 in outputs, Output.CLOUD_2 in outputs, Output.WARP in outputs
    return InferenceResult(
        grid_1=grid_1,
        grid_2=grid_2,
        pts3d_1=_nan(grid_1, 3) if one else None,
        pts3d_2=_nan(grid_2, 3) if two else None,
        conf_1=_full(grid_1, 1.0) if one else None,
        conf_2=_full(grid_2, 1.0) if two else None,
        warp_1_2=_nan(grid_1, 2) if warp else None,
        warp_2_1=_nan(grid_2, 2) if warp else None,
        warp_conf_1=_full(grid_1, 0.0) if warp else None,
        notes=notes,
    )


def _full(grid: Grid, value: float) -> FloatArray:
    return np.full((grid.height, grid.width), value, np.float32)


def _nan(grid: Grid, channels: int) -> FloatArray:
    return np.full((grid.height, grid.width, channels), np.nan, np.float32)
