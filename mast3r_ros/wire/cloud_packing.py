# SPDX-License-Identifier: Apache-2.0
"""Packs points, colours and confidence into an organised ``sensor_msgs/PointCloud2``.

Twenty bytes a point and no padding: readers go by the offsets, so aligning each point to 16 or 32
bytes would gain nothing and make every message up to 60 % longer.
"""

from __future__ import annotations

import cv2
import numpy as np

from mast3r_ros.core.products import Cloud
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import ImageArray, check_image
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.buffer_pool import BufferPool
from mast3r_ros.wire.message_fields import MessageFields

FIELD_NAMES = ('x', 'y', 'z', 'rgb', 'confidence')
POINT_STEP = 4 * len(FIELD_NAMES)
_FLOAT32 = 7  # sensor_msgs/PointField's number for it
_WITHOUT_ALPHA = np.uint32(0x00FFFFFF)


class CloudPacker:
    """Packs clouds into reused buffers.

    What it returns stays as it is until :meth:`release`; without that it lives on by itself.
    """

    def __init__(self, pool: BufferPool | None = None) -> None:
        self._pool = pool or BufferPool()

    def pack(self, header: MessageFields, cloud: Cloud, downsample: int = 1) -> MessageFields:
        """Pack a cloud with the colours of its grid.

        :param downsample: keep every so manyth pixel along x and y, from the first.
        """
        return self.pack_arrays(
            header, cloud.points, cloud.grid.image, cloud.confidence, downsample
        )

    def pack_arrays(
        self,
        header: MessageFields,
        points: FloatArray,
        image: ImageArray,
        confidence: FloatArray,
        downsample: int = 1,
    ) -> MessageFields:
        """Pack points (H, W, 3), NaN where there is none, RGB (H, W, 3) and confidence (H, W)."""
        _check(points, image, confidence, downsample)
        if downsample > 1:
            kept = np.s_[::downsample, ::downsample]
            points, image, confidence = points[kept], image[kept], confidence[kept]
        height, width = confidence.shape
        buffer = self._pool.take(height * width * POINT_STEP)
        packed = np.frombuffer(buffer, np.float32).reshape(height, width, len(FIELD_NAMES))
        sources = [points, packed_colours(image), confidence]
        cv2.mixChannels(sources, [packed], [0, 0, 1, 1, 2, 2, 3, 3, 4, 4])
        return MessageFields(
            'sensor_msgs/msg/PointCloud2',
            {
                'header': header,
                'height': height,
                'width': width,
                'fields': _point_fields(),
                'is_bigendian': False,  # no supported machine is
                'point_step': POINT_STEP,
                'row_step': width * POINT_STEP,
                'data': buffer,
                'is_dense': False,
            },
        )

    def release(self, fields: MessageFields) -> None:
        """Take the buffer back, once the message is serialised and nobody reads it any more."""
        self._pool.give_back(fields['data'])


def packed_colours(image: ImageArray) -> FloatArray:
    """Return RGB (H, W, 3) as numbers 0x00RRGGBB whose bits stand in a float32 (H, W)."""
    height, width = image.shape[:2]
    words = cv2.cvtColor(image, cv2.COLOR_RGB2BGRA).view(np.uint32).reshape(height, width)
    np.bitwise_and(words, _WITHOUT_ALPHA, out=words)  # with alpha 255 it would be a NaN
    return words.view(np.float32)


def _point_fields() -> list[MessageFields]:
    return [
        MessageFields(
            'sensor_msgs/msg/PointField',
            {'name': name, 'offset': 4 * place, 'datatype': _FLOAT32, 'count': 1},
        )
        for place, name in enumerate(FIELD_NAMES)
    ]


def _check(points: FloatArray, image: ImageArray, confidence: FloatArray, downsample: int) -> None:
    check_image('the image', image)
    height, width = image.shape[:2]
    if points.shape != (height, width, 3) or confidence.shape != (height, width):
        raise InvalidInput(
            f'points {points.shape} and confidence {confidence.shape} do not fit the image of '
            f'{height}x{width}; give (height, width, 3) and (height, width)'
        )
    if points.dtype != np.float32 or confidence.dtype != np.float32:
        raise InvalidInput(
            f'points are {points.dtype} and confidence is {confidence.dtype}; allowed is float32'
        )
    if downsample < 1:
        raise InvalidInput(f'downsample is {downsample}; it must be 1 or more')
