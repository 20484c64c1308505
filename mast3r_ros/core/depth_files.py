# SPDX-License-Identifier: Apache-2.0
"""Depth maps as others write them: NumPy files, 16-bit PNG and PFM, in metres once read."""

from __future__ import annotations

import re
import tokenize
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mast3r_ros.core.results import FloatArray
from mast3r_ros.errors import InvalidInput

MILLIMETRES = 1000.0
"""What a 16-bit PNG holds for a metre where nobody says otherwise, as in ROS."""

_PFM_HEADER = re.compile(rb'(Pf|PF)\s+(\d+)\s+(\d+)\s+([-+]?[0-9.eE+-]+)\s')
_PFM_HEADER_BYTES = 200  # no header is longer

# What NumPy and Pillow raise at damaged files.
_BROKEN = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    tokenize.TokenError,
    Image.DecompressionBombError,
)


def load_depth(path: str | Path, png_per_metre: float = MILLIMETRES) -> FloatArray:
    """Read depth Z as float32 (H, W) in metres, NaN where the file has no positive number.

    :param png_per_metre: what a 16-bit PNG holds for a metre.
    """
    if not png_per_metre > 0.0:
        raise InvalidInput(f'{png_per_metre:g} steps a metre are no unit; give more than 0')
    file = Path(path)
    readers = {'.npy': _numpy_file, '.pfm': _pfm_file, '.png': _png_file}
    read = readers.get(file.suffix.lower())
    if read is None:
        raise InvalidInput(f'{path} is no depth file; give a .npy, a .pfm or a 16-bit .png')
    if not file.is_file():
        raise InvalidInput(f'{path} does not exist; give the path of a depth file')
    try:
        depth = read(file)
    except InvalidInput:
        raise
    except _BROKEN as error:
        raise InvalidInput(f'{path} cannot be read as depth: {error}') from error
    if read is _png_file:
        depth = depth / np.float32(png_per_metre)
    return np.where(np.isfinite(depth) & (depth > 0.0), depth, np.float32(np.nan))


def _numpy_file(path: Path) -> FloatArray:
    # Mapped, because a header may promise any number of bytes.
    stored: NDArray[Any] = np.load(path, mmap_mode='r', allow_pickle=False)
    if not isinstance(stored, np.ndarray) or stored.dtype.kind not in 'fiu':
        raise InvalidInput(f'{path} holds no array of numbers; write one with numpy.save')
    if stored.ndim == 3 and stored.shape[2] == 1:
        stored = stored[..., 0]
    if stored.ndim != 2:
        raise InvalidInput(f'{path} has shape {stored.shape}; allowed is (height, width)')
    with np.errstate(over='ignore'):
        return np.array(stored, np.float32)


def _pfm_file(path: Path) -> FloatArray:
    content = path.read_bytes()
    header = _PFM_HEADER.match(content[:_PFM_HEADER_BYTES])
    if header is None:
        raise InvalidInput(f'{path} is no PFM: its first lines are not Pf, the size and a scale')
    kind, width, height, scale = header[1], int(header[2]), int(header[3]), float(header[4])
    if kind == b'PF':
        raise InvalidInput(f'{path} has three channels; depth is a PFM with one (Pf)')
    body = content[header.end() :]
    if len(body) != 4 * width * height or not body:
        raise InvalidInput(
            f'{path} is damaged: {width}x{height} values take {4 * width * height} bytes, '
            f'there are {len(body)}'
        )
    rows = np.frombuffer(body, '<f4' if scale < 0.0 else '>f4').reshape(height, width)
    return np.asarray(rows[::-1], np.float32)  # the lowest row comes first


def _png_file(path: Path) -> FloatArray:
    with Image.open(path) as image:
        if not image.mode.startswith('I'):
            raise InvalidInput(
                f'{path} is a picture of mode {image.mode}; depth is a PNG with one channel of '
                '16 bits'
            )
        return np.array(image, np.float32)
