# SPDX-License-Identifier: Apache-2.0
"""Turns a ``sensor_msgs/Image``, or anything with its fields, into an RGB picture or a mask.

A raw message is trusted in nothing: whatever does not fit is an :class:`InvalidInput`.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mast3r_ros.core.views import ImageArray, MaskArray
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.encodings import Encoding, encoding_named
from mast3r_ros.wire.raw_fields import ByteArray, byte_view, shown, text, whole_number
from mast3r_ros.wire.sample_depth import Samples, to_8_bits

MAX_PIXELS = 100_000_000
"""More than any camera delivers; above it a header is broken or meant to exhaust the memory."""

MASK_ENCODINGS = ('mono8', '8UC1')


def decode_image(message: object, *, significant_bits: int = 16) -> ImageArray:
    """Return the picture as uint8 RGB (H, W, 3), C-contiguous.

    A gapless rgb8 picture is a read-only view of the message's own memory.

    :param message: width, height, encoding, step, is_bigendian and data are read.
    :param significant_bits: of 16-bit samples, see :func:`to_8_bits`.
    """
    layout = _layout(message)
    encoding = layout.encoding
    if encoding.is_semi_planar:
        return _from_two_planes(layout)
    samples = _samples(layout, is_bigendian=bool(getattr(message, 'is_bigendian', False)))
    samples = to_8_bits(samples, significant_bits)
    if encoding.to_rgb is None:
        return np.ascontiguousarray(samples, np.uint8)
    return np.asarray(cv2.cvtColor(samples, encoding.to_rgb), np.uint8)


def decode_mask(message: object) -> MaskArray:
    """Return a mono8 or 8UC1 picture as bool (H, W): 0 takes no part, everything else does."""
    name = text(message, 'encoding')
    if name not in MASK_ENCODINGS:
        raise InvalidInput(
            f'the mask has encoding {shown(name)}; allowed are ' + ', '.join(MASK_ENCODINGS)
        )
    layout = _layout(message)
    return np.asarray(layout.rows(0, layout.height) != 0)


def check_size(width: int, height: int) -> None:
    """Raise :class:`InvalidInput` for a picture without pixels or of an absurd size."""
    if width < 1 or height < 1:
        raise InvalidInput(
            f'the image is {width}x{height}; it needs at least one pixel, check the camera driver'
        )
    if width * height > MAX_PIXELS:
        raise InvalidInput(
            f'the image is {width}x{height}; at most {MAX_PIXELS} pixels are read, '
            'check the camera driver'
        )


@dataclass(frozen=True)
class _Layout:
    """A message's bytes, and how they lie; checked, so that every pixel is there."""

    width: int
    height: int
    step: int  # bytes from one row to the next
    encoding: Encoding
    data: ByteArray

    @property
    def row_bytes(self) -> int:
        """Bytes of a row that are pixels."""
        return self.width * self.encoding.channels * self.encoding.sample_bytes

    def rows(self, first: int, count: int) -> ByteArray:
        """Return so many rows of bytes without what pads them."""
        start = first * self.step
        rows = self.data[start : start + count * self.step].reshape(count, self.step)
        return rows[:, : self.row_bytes]


def _layout(message: object) -> _Layout:
    width, height = whole_number(message, 'width'), whole_number(message, 'height')
    check_size(width, height)
    name = text(message, 'encoding')
    encoding = encoding_named(name)
    encoding.check_sides(name, width, height)
    layout = _Layout(width, height, whole_number(message, 'step'), encoding, byte_view(message))
    if layout.step < layout.row_bytes:
        raise InvalidInput(
            f'step is {layout.step}; a row of {width} pixels in {name} has '
            f'{layout.row_bytes} bytes'
        )
    rows = height + height // 2 if encoding.is_semi_planar else height
    if len(layout.data) < rows * layout.step:
        raise InvalidInput(
            f'data has {len(layout.data)} bytes; {rows} rows of step {layout.step} need '
            f'{rows * layout.step}'
        )
    return layout


def _samples(layout: _Layout, *, is_bigendian: bool) -> Samples:
    """Return the samples (H, W) or (H, W, channels) in this machine's byte order."""
    rows = layout.rows(0, layout.height)
    channels = layout.encoding.channels
    shape = (layout.height, layout.width, *((channels,) if channels > 1 else ()))
    if layout.encoding.sample_bytes == 1:
        return rows.reshape(shape)
    stored = rows.view('>u2' if is_bigendian else '<u2').reshape(shape)
    # An odd step or start puts samples where OpenCV may not read them in place.
    return np.require(stored.astype(np.uint16, copy=False), requirements='A')


def _from_two_planes(layout: _Layout) -> ImageArray:
    """Convert a plane of brightness followed by one of colour at half the resolution."""
    height, width = layout.height, layout.width
    brightness = layout.rows(0, height)
    colour = layout.rows(height, height // 2).reshape(height // 2, width // 2, 2)
    assert layout.encoding.to_rgb is not None  # for the type checker
    return np.asarray(cv2.cvtColorTwoPlane(brightness, colour, layout.encoding.to_rgb), np.uint8)
