# SPDX-License-Identifier: Apache-2.0
"""A scene as one binary glTF file: coloured points, and a frame for each camera.

glTF's y points up and its cameras look along -z, so the whole scene hangs below a node that turns
it over.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera, Matrix

_POINTS, _LINES = 0, 1
_FLOAT, _UNSIGNED_BYTE = 5126, 5121
_ARRAY_BUFFER = 34962
_JSON, _BINARY = 0x4E4F534A, 0x004E4942
_UPRIGHT = [1, 0, 0, 0, 0, -1, 0, 0, 0, 0, -1, 0, 0, 0, 0, 1]
_CAMERA_COLOR = (214, 72, 30)
_EDGES = (0, 1, 0, 2, 0, 3, 0, 4, 1, 2, 2, 3, 3, 4, 4, 1)


def write_glb(
    path: str | Path,
    points: NDArray[np.float32],
    colors: NDArray[np.uint8],
    cameras: Sequence[tuple[Matrix, Camera]] = (),
    camera_size: float = 0.1,
) -> None:
    """Write points (N, 3) with RGB colours (N, 3), and cameras as pyramids of lines.

    :param cameras: poses ``T_world_camera`` and calibrations.
    :param camera_size: height of a pyramid, in the unit of the points.
    """
    parts = []
    if len(points):
        parts.append((_POINTS, points, colors))
    if cameras:
        lines = np.concatenate([_pyramid(T, camera, camera_size) for T, camera in cameras])
        parts.append((_LINES, lines, np.tile(np.array(_CAMERA_COLOR, np.uint8), (len(lines), 1))))
    meshes: list[dict[str, Any]] = []
    views: list[dict[str, int]] = []
    accessors: list[dict[str, Any]] = []
    binary = b''
    for mode, vertices, tints in parts:
        attributes = {}
        for name, data, kind in (
            ('POSITION', np.ascontiguousarray(vertices, np.float32), _FLOAT),
            ('COLOR_0', _with_alpha(tints), _UNSIGNED_BYTE),
        ):
            attributes[name] = len(accessors)
            views.append(_view(len(binary), data.nbytes))
            accessors.append(_accessor(len(views) - 1, data, kind))
            binary += data.tobytes()
        meshes.append({'primitives': [{'attributes': attributes, 'mode': mode}]})
    document = {
        'asset': {'version': '2.0', 'generator': 'mast3r_ros'},
        'scene': 0,
        'scenes': [{'nodes': [0]}],
        'nodes': [
            {'matrix': _UPRIGHT, 'children': list(range(1, 1 + len(meshes)))},
            *({'mesh': number} for number in range(len(meshes))),
        ],
        'meshes': meshes,
        'accessors': accessors,
        'bufferViews': views,
        'buffers': [{'byteLength': len(binary)}],
    }
    Path(path).write_bytes(_file(_without_empty(document), binary))


def _file(document: dict[str, Any], binary: bytes) -> bytes:
    text = json.dumps(document, separators=(',', ':')).encode('ascii')
    text += b' ' * (-len(text) % 4)
    chunks = struct.pack('<II', len(text), _JSON) + text
    if binary:
        chunks += struct.pack('<II', len(binary), _BINARY) + binary
    return struct.pack('<4sII', b'glTF', 2, 12 + len(chunks)) + chunks


def _without_empty(document: dict[str, Any]) -> dict[str, Any]:
    """Return a document without empty lists, which the format forbids."""
    if not document['meshes']:
        document['nodes'][0].pop('children')
        for name in ('meshes', 'accessors', 'bufferViews', 'buffers'):
            document.pop(name)
    return document


def _view(offset: int, length: int) -> dict[str, int]:
    return {'buffer': 0, 'byteOffset': offset, 'byteLength': length, 'target': _ARRAY_BUFFER}


def _accessor(view: int, data: NDArray[Any], kind: int) -> dict[str, Any]:
    accessor: dict[str, Any] = {
        'bufferView': view,
        'componentType': kind,
        'count': len(data),
        'type': f'VEC{data.shape[1]}',
    }
    if kind == _UNSIGNED_BYTE:
        return {**accessor, 'normalized': True}
    return {**accessor, 'min': data.min(axis=0).tolist(), 'max': data.max(axis=0).tolist()}


def _with_alpha(colors: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.hstack([colors, np.full((len(colors), 1), 255, np.uint8)])


def _pyramid(T_world_camera: Matrix, camera: Camera, size: float) -> NDArray[np.float32]:
    """Return the ends (16, 3) of eight lines: from the lens to the picture's corners, around."""
    right, bottom = camera.width - 0.5, camera.height - 0.5
    corners = np.array([[-0.5, -0.5], [right, -0.5], [right, bottom], [-0.5, bottom]])
    x = (corners[:, 0] - camera.cx) / camera.fx
    y = (corners[:, 1] - camera.cy) / camera.fy
    ends = np.vstack([np.zeros(3), size * np.stack([x, y, np.ones(4)], axis=1)])
    world = ends @ T_world_camera[:3, :3].T + T_world_camera[:3, 3]
    return np.asarray(world[list(_EDGES)], np.float32)
