# SPDX-License-Identifier: Apache-2.0
"""Timing of an engine on pairs of made-up images, stage by stage."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.results import Output, Timing, match_outputs
from mast3r_ros.core.views import ImageArray, View
from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.core.engine import EngineInterface


def time_pairs(
    engine: EngineInterface, n: int, size: tuple[int, int], outputs: Output = Output.ALL
) -> Timing:
    """Time ``n`` pairs after one warm-up.

    :param size: width and height of the images.
    :param outputs: what the engine is asked for; matching is timed where they allow it.
    :return: milliseconds of each stage and of the whole, for every pair.
    """
    if n < 1:
        raise InvalidInput(f'the number of iterations is {n}; give at least 1')
    view_1, view_2, T_2_1 = made_up_views(*size)
    stages_ms: dict[str, list[float]] = {}
    matches_too = match_outputs(engine.provides) in outputs
    for iteration in range(n + 1):
        start = time.perf_counter()
        result = engine.infer_views(view_1, view_2, T_2_1, outputs)
        spent = dict(result.timing_ms)
        if matches_too:
            inferred = time.perf_counter()
            engine.match_result(result)
            spent['match'] = (time.perf_counter() - inferred) * 1e3
        spent['total'] = (time.perf_counter() - start) * 1e3
        for stage, value in spent.items() if iteration else ():
            stages_ms.setdefault(stage, []).append(value)
    return Timing(n, stages_ms)


def made_up_views(width: int, height: int) -> tuple[View, View, Matrix]:
    """Return a calibrated stereo pair of a textured wall, and its ``T_2_1``."""
    image_1, image_2 = made_up_pair(width, height)
    camera = Camera.pinhole(width, height, width, width, width / 2, height / 2)
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = -0.1
    return View(image_1, camera), View(image_2, camera), T_2_1


def made_up_pair(width: int, height: int, shift_px: int = 8) -> tuple[ImageArray, ImageArray]:
    """Return a textured picture and the same picture shifted sideways; the same every time."""
    rng = np.random.default_rng(0)
    texture = np.zeros((height, width + shift_px, 3), np.float32)
    for cell_px in (4, 16, 64):
        cells = (height // cell_px + 2, (width + shift_px) // cell_px + 2, 3)
        layer = cv2.resize(rng.random(cells, np.float32), (texture.shape[1], height))
        texture += layer * 85.0
    picture = texture.astype(np.uint8)
    left, right = picture[:, :width], picture[:, shift_px:]
    return np.ascontiguousarray(left), np.ascontiguousarray(right)
