# SPDX-License-Identifier: Apache-2.0
"""An engine that behaves as it is told: slow, failing, hanging, answering nonsense."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from mast3r_ros.core.engine import EngineInfo, EngineInterface, Features
from mast3r_ros.core.results import InferenceResult, Output, ScaleSource
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import EngineCancelled

WALL_Z = 2.0


class ScriptedFeatures(Features):
    def __init__(self, grid, view):
        super().__init__(grid, 'scripted')
        self.view = view

    @property
    def nbytes(self):
        return 0

    def global_descriptor(self):
        return np.array([1.0], np.float32)


class ScriptedEngine(EngineInterface):
    """Sees a flat wall in every picture, pixel beside pixel the same in both views.

    :param script: called before each answer with the number of the pair and the engine; whatever
        it raises, the engine raises, and a result it returns replaces the answer.
    """

    provides = Output.CLOUD_1 | Output.CLOUD_2 | Output.WARP

    def __init__(self, script=lambda number, engine: None):
        self.script = script
        self.pairs = []  # (view 1, view 2) as they came
        self.grids = ()  # of the pair that is being answered
        self.asked = []  # outputs
        self.threads = set()
        self.cancelled = threading.Event()
        self.closed = threading.Event()
        self._views = {}

    @property
    def stamps(self):
        """Stamps of view 1 and 2 of each pair, in nanoseconds."""
        return [(view_1.stamp_ns, view_2.stamp_ns) for view_1, view_2 in self.pairs]

    def prepare(self, view):
        grid = Grid(view.image, view.mask, view.camera)
        self._views[id(grid)] = (grid, view)
        return grid

    def encode(self, grids):
        return [ScriptedFeatures(grid, self._views.pop(id(grid))[1]) for grid in grids]

    def decode(self, pairs, outputs):
        self.threads.add(threading.get_ident())
        return [self._answer(one, two, outputs) for one, two, _ in pairs]

    def describe(self):
        return EngineInfo('scripted', 'cpu', 'fp32', {})

    def scale_source(self, T_2_1):
        return ScaleSource.MODEL

    def cancel(self):
        self.cancelled.set()

    def close(self):
        self.closed.set()

    def forget(self):
        """Forget what was asked so far."""
        self.pairs.clear()
        self.asked.clear()

    def sleep(self, seconds):
        """Work for so long, or until cancelled."""
        if self.cancelled.wait(seconds):
            self.cancelled.clear()
            raise EngineCancelled('the scripted engine was cancelled')

    def _answer(self, one, two, outputs):
        number = len(self.pairs)
        self.pairs.append((one.view, two.view))
        self.grids = one.grid, two.grid
        self.asked.append(outputs)
        changed = self.script(number, self)
        return wall(one.grid, two.grid, outputs) if changed is None else changed


def wall(grid_1, grid_2, outputs=Output.CLOUD_1 | Output.CLOUD_2 | Output.WARP):
    """Return the answer of a flat wall before both cameras."""
    result = InferenceResult(grid_1, grid_2, scale_source=ScaleSource.MODEL)
    if Output.CLOUD_1 in outputs:
        result = replace(result, pts3d_1=_points(grid_1), conf_1=_full(grid_1, 5.0))
    if Output.CLOUD_2 in outputs:
        result = replace(result, pts3d_2=_points(grid_2), conf_2=_full(grid_2, 5.0))
    if Output.WARP in outputs:
        result = replace(
            result,
            warp_1_2=_pixels(grid_1),
            warp_2_1=_pixels(grid_2),
            warp_conf_1=_full(grid_1, 3.0),
        )
    return result


def _pixels(grid):
    u, v = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    return np.stack([u, v], axis=-1).astype(np.float32)


def _points(grid):
    focal_px = float(grid.width)
    centre = ((grid.width - 1) / 2, (grid.height - 1) / 2)
    slopes = (_pixels(grid) - centre) / focal_px
    return np.concatenate([slopes, np.ones_like(slopes[..., :1])], axis=2).astype(
        np.float32
    ) * np.float32(WALL_Z)


def _full(grid, value):
    return np.full((grid.height, grid.width), value, np.float32)
