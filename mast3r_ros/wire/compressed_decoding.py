# SPDX-License-Identifier: Apache-2.0
"""Turns a ``sensor_msgs/CompressedImage`` (JPEG or PNG) into an RGB picture.

``format`` reads "<encoding before>; <codec> compressed <encoding inside>" from image_transport and
just "jpeg" or "png" from many drivers. The codec is seen from the data; ``format`` only tells what
the file itself cannot.
"""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.views import ImageArray
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.encodings import ENCODINGS
from mast3r_ros.wire.image_decoding import check_size
from mast3r_ros.wire.raw_fields import ByteArray, byte_view, shown, text
from mast3r_ros.wire.sample_depth import Samples, to_8_bits

_JPEG_START, _JPEG_END = b'\xff\xd8\xff', b'\xff\xd9'
_PNG_START, _PNG_END = b'\x89PNG\r\n\x1a\n', b'IEND'
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # C4, C8, CC head tables

# Calibration is of the pixels as the sensor delivered them, so no turning by an EXIF note.
_READ_AS_STORED = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION


def decode_compressed(message: object, *, significant_bits: int = 16) -> ImageArray:
    """Return the picture as uint8 RGB (H, W, 3), C-contiguous.

    :param message: format and data are read.
    :param significant_bits: of 16-bit samples, see :func:`to_8_bits`.
    """
    format_text, data = text(message, 'format'), byte_view(message)
    check_size(*_stored_size(data, format_text))
    samples = to_8_bits(_read(data), significant_bits)
    to_rgb = _conversion(samples, format_text)
    if to_rgb is None:
        return np.ascontiguousarray(samples, np.uint8)
    return np.asarray(cv2.cvtColor(samples, to_rgb), np.uint8)


def _stored_size(data: ByteArray, format_text: str) -> tuple[int, int]:
    """Return (width, height) from the file's head; raise where the file is not whole.

    Decoders fill the missing end of a file with grey, which would pass for a picture, and a few
    bytes can announce one that takes gigabytes.
    """
    start = data[:24].tobytes()
    if start.startswith(_PNG_START) and len(start) == 24:
        _check_end('PNG', data, _PNG_END, len(_PNG_START))
        width, height = struct.unpack('>II', start[16:24])
        return int(width), int(height)
    if start.startswith(_JPEG_START):
        return _jpeg_size(data)
    raise InvalidInput(
        f'the compressed image (format {shown(format_text)}, {len(data)} bytes) is neither JPEG '
        'nor PNG; have the camera publish one of them, or raw images'
    )


def _jpeg_size(data: ByteArray) -> tuple[int, int]:
    """Walk a JPEG's segments to the one that tells its size."""
    content = data.data
    at = 2
    while at + 9 <= len(content):
        marker, length = content[at + 1], (content[at + 2] << 8) + content[at + 3]
        if content[at] != 0xFF or (marker != 0xFF and length < 2):
            break
        if marker in _FRAME_MARKERS:
            _check_end('JPEG', data, _JPEG_END, at)
            height, width = struct.unpack('>HH', content[at + 5 : at + 9])
            return int(width), int(height)
        at += 1 if marker == 0xFF else 2 + length  # FF may be repeated before a marker
    raise InvalidInput(
        f'the JPEG of {len(data)} bytes is broken or cut off before its size; '
        'check the camera driver and the network'
    )


def _check_end(codec: str, data: ByteArray, mark: bytes, start: int) -> None:
    if data.tobytes().rfind(mark, start) < 0:
        raise InvalidInput(
            f'the {codec} of {len(data)} bytes is cut off before its end; '
            'check the camera driver and the network'
        )


def _read(data: ByteArray) -> Samples:
    try:
        picture: Any = cv2.imdecode(data, _READ_AS_STORED)
    except cv2.error:
        picture = None
    if picture is None or picture.dtype not in (np.uint8, np.uint16):
        raise InvalidInput(
            f'the compressed image of {len(data)} bytes cannot be decoded; '
            'check the camera driver and the network'
        )
    return np.asarray(picture)


def _conversion(samples: NDArray[Any], format_text: str) -> int | None:
    """Return the conversion to RGB of what OpenCV decoded; None where it is RGB already."""
    before, _, codec = format_text.partition(';')
    if samples.ndim == 3:
        # Such files were written with red and blue exchanged, which the name makes up for.
        return None if 'compressed rgb' in codec else cv2.COLOR_BGR2RGB
    before = before.strip()
    mosaic = ENCODINGS.get(before) if before.startswith('bayer_') else None
    if mosaic is None or 'png' not in codec:
        return cv2.COLOR_GRAY2RGB
    # A PNG keeps the colour mosaic as it is; a JPEG is made of its greys.
    mosaic.check_sides(before, samples.shape[1], samples.shape[0])
    return mosaic.to_rgb
