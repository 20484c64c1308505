# SPDX-License-Identifier: Apache-2.0
"""Whether an engine's answer is one: parts that are there, of the right shape, not all NaN."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.results import InferenceResult, Output
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import EngineFailed


@dataclass(frozen=True)
class _Part:
    """One array of a result.

    :param channels: of the last axis; 0 for a plain map, None for any number.
    :param confidence: the map that says how sure each pixel is.
    :param none: the confidence of a pixel of which nothing is known.
    """

    name: str
    grid: str
    channels: int | None
    confidence: str = ''
    none: float = 0.0


_PARTS = {
    Output.CLOUD_1: (_Part('pts3d_1', 'grid_1', 3, 'conf_1', 1.0),),
    Output.CLOUD_2: (_Part('pts3d_2', 'grid_2', 3, 'conf_2', 1.0),),
    Output.DESC: (
        _Part('desc_1', 'grid_1', None, 'desc_conf_1'),
        _Part('desc_2', 'grid_2', None, 'desc_conf_2'),
    ),
    Output.WARP: (_Part('warp_1_2', 'grid_1', 2, 'warp_conf_1'),),
}


def check_result(result: InferenceResult, outputs: Output) -> None:
    """Raise :class:`EngineFailed` unless everything asked for is there and can be used.

    Nothing but NaN is an answer where a note says why or the confidence is none everywhere.
    """
    for output, parts in _PARTS.items():
        for part in parts if outputs & output else ():
            _check_part(result, part)


def _check_part(result: InferenceResult, part: _Part) -> None:
    grid: Grid = getattr(result, part.grid)
    values = getattr(result, part.name)
    confidence = getattr(result, part.confidence)
    if values is None:
        raise EngineFailed(f'the engine returned no {part.name} though it was asked for it')
    _check_shape(part.name, values, grid, part.channels)
    if confidence is not None:
        _check_shape(part.confidence, confidence, grid, 0)
    # A broken pixel is so in every channel.
    if np.isfinite(values[..., -1]).any() or result.notes:
        return
    if confidence is None or not (confidence <= part.none).all():
        raise EngineFailed(
            f'the engine returned {part.name} without a single finite number; check the model and '
            'its precision'
        )


def _check_shape(name: str, values: NDArray[np.float32], grid: Grid, channels: int | None) -> None:
    expected: tuple[int, ...] = (grid.height, grid.width)
    if channels is None and values.ndim == 3:
        expected = (*expected, values.shape[2])
    elif channels != 0:
        expected = (*expected, channels or 1)
    if values.shape != expected or values.dtype != np.float32:
        raise EngineFailed(
            f'the engine returned {name} as {values.dtype} {values.shape}; its grid asks for '
            f'float32 {expected}'
        )
