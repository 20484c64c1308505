# SPDX-License-Identifier: Apache-2.0
"""The image encodings that can be read: how each lies in memory and what makes it RGB."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.raw_fields import shown


@dataclass(frozen=True)
class Encoding:
    """One way to store pixels.

    :param to_rgb: OpenCV's conversion; None where the samples are RGB as they lie.
    :param channels: interleaved samples a pixel; for semi-planar ones, of the first plane.
    :param sample_bytes: bytes a sample, 1 or 2.
    :param multiple_of: what width and height must be multiples of.
    :param smallest: the smallest width and height.
    :param is_semi_planar: a plane Y of ``height`` rows, then one of half as many with U and V.
    """

    to_rgb: int | None
    channels: int
    sample_bytes: int = 1
    multiple_of: tuple[int, int] = (1, 1)
    smallest: int = 1
    is_semi_planar: bool = False

    def check_sides(self, name: str, width: int, height: int) -> None:
        """Raise :class:`InvalidInput` where a picture of that size cannot be stored this way."""
        across, down = self.multiple_of
        if width % across or height % down:
            raise InvalidInput(
                f'the image is {width}x{height}; in {name} the sides must be multiples of '
                f'{across} and {down}'
            )
        if min(width, height) < self.smallest:
            raise InvalidInput(
                f'the image is {width}x{height}; {name} needs at least '
                f'{self.smallest}x{self.smallest} pixels'
            )


def _interleaved() -> dict[str, Encoding]:
    """Mono, RGB and their kin, with 8 and with 16 bits a sample."""
    orders: dict[str, tuple[int | None, int]] = {
        'mono': (cv2.COLOR_GRAY2RGB, 1),
        'rgb': (None, 3),
        'bgr': (cv2.COLOR_BGR2RGB, 3),
        'rgba': (cv2.COLOR_RGBA2RGB, 4),
        'bgra': (cv2.COLOR_BGRA2RGB, 4),
    }
    return {
        f'{name}{8 * size}': Encoding(to_rgb, channels, size)
        for name, (to_rgb, channels) in orders.items()
        for size in (1, 2)
    }


def _bayer() -> dict[str, Encoding]:
    """Colour mosaics, named by the first two pixels of the first two rows, as OpenCV's long names.

    Its short names (BayerBG for rggb) start at the second row and column instead.
    """
    patterns = {
        'rggb': cv2.COLOR_BayerRGGB2RGB,
        'bggr': cv2.COLOR_BayerBGGR2RGB,
        'gbrg': cv2.COLOR_BayerGBRG2RGB,
        'grbg': cv2.COLOR_BayerGRBG2RGB,
    }
    # Below 3x3 pixels OpenCV's interpolation leaves the picture black.
    return {
        f'bayer_{name}{8 * size}': Encoding(to_rgb, 1, size, smallest=3)
        for name, to_rgb in patterns.items()
        for size in (1, 2)
    }


_UYVY = Encoding(cv2.COLOR_YUV2RGB_UYVY, 2, multiple_of=(2, 1))
_YUY2 = Encoding(cv2.COLOR_YUV2RGB_YUY2, 2, multiple_of=(2, 1))
_NV12 = Encoding(cv2.COLOR_YUV2RGB_NV12, 1, multiple_of=(2, 2), is_semi_planar=True)
_NV21 = Encoding(cv2.COLOR_YUV2RGB_NV21, 1, multiple_of=(2, 2), is_semi_planar=True)

ENCODINGS: dict[str, Encoding] = {
    **_interleaved(),
    **_bayer(),
    'yuv422': _UYVY,
    'uyvy': _UYVY,
    'yuv422_yuy2': _YUY2,
    'yuyv': _YUY2,
    'nv12': _NV12,
    'nv21': _NV21,
    # OpenCV's type names say nothing of colours; its usual order is BGR.
    '8UC1': Encoding(cv2.COLOR_GRAY2RGB, 1),
    '8UC3': Encoding(cv2.COLOR_BGR2RGB, 3),
    '8UC4': Encoding(cv2.COLOR_BGRA2RGB, 4),
}
"""Every encoding that can be read, by its ROS name."""


def encoding_named(name: str) -> Encoding:
    """Return the encoding of that name; raise :class:`InvalidInput` where it cannot be read."""
    known = ENCODINGS.get(name)
    if known is None:
        raise InvalidInput(
            f'encoding {shown(name)} cannot be read; allowed are ' + ', '.join(ENCODINGS)
        )
    return known
