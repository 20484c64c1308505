# SPDX-License-Identifier: Apache-2.0
"""Frames without calibration: the focal length is what the engine's own points tell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain

import numpy as np

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.products import Product
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.answers import Answers
from mast3r_ros.sequence.frames import SequenceFrame

FRAMES_LOOKED_AT = 10
"""Frames at the beginning; a median of so many is four times as good as one."""
_SAME_SIZE = 'all frames of a sequence without calibration must have one size: {}, then {}'


def with_cameras(frames: Iterable[SequenceFrame], answers: Answers) -> Iterator[SequenceFrame]:
    """Yield the frames, each with a calibration; those that have one stay as they are.

    The first frames wait until a focal length is known.
    """
    iterator = iter(frames)
    first = next(iterator, None)
    if first is None:
        return
    if first.view.camera is not None:
        yield first
        yield from iterator
        return
    waiting = [first]
    for frame in iterator:
        waiting.append(frame)
        if len(waiting) == FRAMES_LOOKED_AT:
            break
    camera = estimate([frame.view for frame in waiting], answers)
    for frame in chain(waiting, iterator):
        view = frame.view
        if (view.width, view.height) != (camera.width, camera.height):
            sizes = f'{camera.width}x{camera.height}', f'{view.width}x{view.height}'
            raise InvalidInput(_SAME_SIZE.format(*sizes))
        yield replace(frame, view=replace(view, camera=camera))


def estimate(views: list[View], answers: Answers) -> Camera:
    """Return the camera that the points of these views' pairs tell of, in the median."""
    found = []
    for number, view in enumerate(views):
        other = views[number - 1] if number else views[min(1, len(views) - 1)]
        cloud = answers.pair(view, other, Product.CLOUD_1).cloud_1
        if cloud is not None and cloud.grid.camera is not None:
            found.append(cloud.grid.camera.fx / cloud.grid.scale[0])
    if not found:
        raise InvalidInput(
            "no focal length can be told from the first frames: the engine's points are empty; "
            'give a calibration'
        )
    width, height = views[0].width, views[0].height
    focal_px = float(np.median(found))
    return Camera.pinhole(width, height, focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)
