# SPDX-License-Identifier: Apache-2.0
"""The plots of the last two minutes: answered, dropped, age and cost of the pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.viewer.history import SECONDS

_HEIGHT_PX = 132
# Okabe and Ito's colours, which stay apart with any colour vision.
_ORANGE, _SKY, _GREEN, _RED = '#e69f00', '#56b4e9', '#009e73', '#d55e00'
_GREY = '#9a9a9a'


class Plots:
    """Two plots, in the panel where they are made.

    :param gui: viser's.
    """

    def __init__(self, gui: Any) -> None:
        nothing = tuple(np.array([-1.0, 0.0]) if i == 0 else np.zeros(2) for i in range(3))
        self._rates = gui.add_uplot(
            nothing,
            _series(('answered a second', _SKY, True), ('dropped a second', _RED, False)),
            **_common(),
        )
        self._times = gui.add_uplot(
            nothing,
            _series(('age, ms', _ORANGE, True), ('engine and publishing, ms', _GREEN, False)),
            **_common(),
        )

    def show(self, columns: tuple[NDArray[np.float64], ...]) -> None:
        """Show the columns of :meth:`History.plotted`."""
        seconds, answered, dropped, age_ms, engine_ms = columns
        if len(seconds) < 2:
            return
        for plot, *lines in ((self._rates, answered, dropped), (self._times, age_ms, engine_ms)):
            plot.scales = _scales(top_of(lines))
            plot.data = (seconds, *lines)


def top_of(lines: Sequence[NDArray[np.float64]]) -> float:
    """Return a round number that no value exceeds; the plots cannot find it where some are NaN."""
    known = np.concatenate(lines)
    most = float(known[np.isfinite(known)].max(initial=0.0))
    power = 10.0 ** math.floor(math.log10(most)) if most > 0 else 1.0
    return next((step * power for step in (1, 2, 5) if most <= step * power), 10 * power)


def _scales(top: float) -> dict[str, Any]:
    return {
        'x': {'time': False, 'auto': False, 'range': (-SECONDS, 0)},
        'y': {'auto': False, 'range': (0, top)},
    }


def _series(*lines: tuple[str, str, bool]) -> tuple[dict[str, Any], ...]:
    shown = [
        {
            'label': label,
            'stroke': colour,
            'width': 2,
            'dash': [] if solid else [5, 3],  # told apart without colours, too
            'points': {'show': False},
        }
        for label, colour, solid in lines
    ]
    return ({'label': 'seconds'}, *shown)


def _common() -> dict[str, Any]:
    grid = {'stroke': '#55555555', 'width': 1}
    axis = {'stroke': _GREY, 'grid': grid, 'ticks': {'show': False}, 'font': '10px sans-serif'}
    return {
        'scales': _scales(1.0),
        'axes': ({**axis, 'size': 20}, {**axis, 'size': 34}),
        'legend': {'show': True, 'live': False},
        'cursor': {'show': False},
        'height': _HEIGHT_PX,
        'padding': (10, 8, 0, 0),
    }
