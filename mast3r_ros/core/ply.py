# SPDX-License-Identifier: Apache-2.0
"""Coloured point clouds as binary PLY files, which every 3D program opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_VERTEX = np.dtype(
    [
        ('x', '<f4'),
        ('y', '<f4'),
        ('z', '<f4'),
        ('red', 'u1'),
        ('green', 'u1'),
        ('blue', 'u1'),
        ('confidence', '<f4'),
    ]
)
_TYPE_NAMES = {'<f4': 'float', '|u1': 'uchar'}


def write_ply(
    path: str | Path,
    points: NDArray[np.float32],
    colors: NDArray[np.uint8],
    confidence: NDArray[np.float32],
) -> int:
    """Write the finite points of a cloud and return how many there were.

    :param points: (..., 3) in metres, or whatever unit the cloud has.
    :param colors: (..., 3) uint8 RGB.
    :param confidence: (...) one value a point.
    """
    flat = points.reshape(-1, 3)
    kept = np.isfinite(flat).all(axis=1)
    vertices = np.empty(int(kept.sum()), _VERTEX)
    for axis, name in enumerate(('x', 'y', 'z')):
        vertices[name] = flat[kept, axis]
    for channel, name in enumerate(('red', 'green', 'blue')):
        vertices[name] = colors.reshape(-1, 3)[kept, channel]
    vertices['confidence'] = confidence.reshape(-1)[kept]
    Path(path).write_bytes(_header(vertices) + vertices.tobytes())
    return len(vertices)


def _header(vertices: NDArray[Any]) -> bytes:
    lines = ['ply', 'format binary_little_endian 1.0', f'element vertex {len(vertices)}']
    for name in _VERTEX.names or ():
        lines.append(f'property {_TYPE_NAMES[_VERTEX[name].str]} {name}')
    return '\n'.join([*lines, 'end_header', '']).encode('ascii')
