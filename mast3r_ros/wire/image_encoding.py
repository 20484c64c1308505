# SPDX-License-Identifier: Apache-2.0
"""Packs pictures and maps of numbers into the fields of a ``sensor_msgs/Image``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import ImageArray, MaskArray, check_image
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.buffer_pool import BufferPool
from mast3r_ros.wire.message_fields import MessageFields


class ImageEncoder:
    """Packs images into reused buffers.

    What it returns stays as it is until :meth:`release`; without that it lives on by itself.
    """

    def __init__(self, pool: BufferPool | None = None) -> None:
        self._pool = pool or BufferPool()

    def float_map(self, header: MessageFields, values: FloatArray) -> MessageFields:
        """Pack (H, W) numbers as 32FC1: depth in metres (NaN where there is none), confidence."""
        if values.ndim != 2 or values.dtype != np.float32:
            raise InvalidInput(
                f'the map is {values.dtype} {values.shape}; allowed is float32 (height, width)'
            )
        return self._packed(header, '32FC1', values)

    def rgb(self, header: MessageFields, image: ImageArray) -> MessageFields:
        """Pack a uint8 RGB picture (H, W, 3) as rgb8."""
        check_image('the image', image)
        return self._packed(header, 'rgb8', image)

    def mask(self, header: MessageFields, mask: MaskArray) -> MessageFields:
        """Pack a mask (H, W) as mono8: 0 takes no part, 255 does."""
        return self._packed(header, 'mono8', np.where(mask, np.uint8(255), np.uint8(0)))

    def release(self, fields: MessageFields) -> None:
        """Take the buffer back, once the message is serialised and nobody reads it any more."""
        self._pool.give_back(fields['data'])

    def _packed(self, header: MessageFields, encoding: str, pixels: NDArray[Any]) -> MessageFields:
        buffer = self._pool.take(pixels.nbytes)
        np.copyto(np.frombuffer(buffer, pixels.dtype).reshape(pixels.shape), pixels)
        height, width = pixels.shape[:2]
        return MessageFields(
            'sensor_msgs/msg/Image',
            {
                'header': header,
                'height': height,
                'width': width,
                'encoding': encoding,
                'is_bigendian': 0,  # no supported machine is
                'step': pixels.nbytes // height,
                'data': buffer,
            },
        )
