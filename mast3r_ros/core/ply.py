# SPDX-License-Identifier: Apache-2.0
"""Coloured point clouds as binary PLY files, which every 3D program opens."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.errors import InvalidInput

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


def read_ply(
    path: str | Path,
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.float32]]:
    """Return points (N, 3), colours (N, 3) and confidence (N,) of a file that we wrote.

    :raises InvalidInput: it is of another layout, or cut short.
    """
    data = Path(path).read_bytes()
    head, end, body = data.partition(b'end_header\n')
    count = re.search(rb'^element vertex (\d+)$', head, re.MULTILINE)
    vertices = np.empty(0 if count is None else int(count.group(1)), _VERTEX)
    if not end or head + end != _header(vertices) or len(body) != vertices.nbytes:
        raise InvalidInput(f'{path} is no whole PLY file of this package')
    vertices = np.frombuffer(body, _VERTEX)
    points = np.stack([vertices[axis] for axis in ('x', 'y', 'z')], axis=1)
    colors = np.stack([vertices[channel] for channel in ('red', 'green', 'blue')], axis=1)
    return points, colors, vertices['confidence'].copy()
