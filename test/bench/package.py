# SPDX-License-Identifier: Apache-2.0
"""Bench rows of the package itself: what importing it costs, what preprocessing costs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

from side_by_side import Missing, Row, compare

from mast3r_ros.config import ResizeFilter
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.preprocessing import plan_official, to_grid
from mast3r_ros.core.views import View


def rows() -> Iterator[Row | Missing]:
    """Measure one row after another."""
    yield compare(
        'package',
        'import mast3r_ros (whole process)',
        lambda: _python('import mast3r_ros'),
        lambda: _python('import numpy'),
        other_name='import numpy',
        facts={'import_ms': _import_ms()},
    )
    view = View(made_up_pair(640, 480)[0])
    plan = plan_official(640, 480, 512, 16, False)
    yield compare(
        'package',
        'resize fast, 640x480 to 512x384',
        lambda: to_grid(view, plan, ResizeFilter.FAST),
        lambda: to_grid(view, plan, ResizeFilter.OFFICIAL),
        other_name='resize official',
        rounds=25,
    )


def _python(code: str) -> None:
    subprocess.run([sys.executable, '-c', code], check=True)


def _import_ms() -> float:
    """Return the best of five, in fresh processes: the cost itself, without the noise."""
    code = (
        'import time; t = time.perf_counter(); import mast3r_ros; '
        'print((time.perf_counter() - t) * 1e3)'
    )
    times = [
        float(subprocess.run([sys.executable, '-c', code], check=True, capture_output=True).stdout)
        for _ in range(5)
    ]
    return min(times)
