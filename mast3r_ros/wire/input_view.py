# SPDX-License-Identifier: Apache-2.0
"""An image message becomes a view with its camera and its mask; problems name a topic."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.mask_store import MaskStore
from mast3r_ros.core.views import ImageArray, View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.compressed_decoding import decode_compressed
from mast3r_ros.wire.image_decoding import decode_image


@dataclass(frozen=True)
class TopicNames:
    """Where an image, its calibration and its mask come from, for whoever has to mend it."""

    image: str
    info: str
    mask: str


def make_view(
    message: Any,
    stamp_ns: int,
    camera: Camera | None,
    masks: MaskStore,
    topics: TopicNames,
    *,
    is_compressed: bool,
    significant_bits: int = 16,
) -> View:
    """Return the view of an image message.

    :param is_compressed: the message is a ``sensor_msgs/CompressedImage``.
    :param significant_bits: of 16-bit samples, see :func:`to_8_bits`.
    :raises InvalidInput: image, calibration or mask cannot be used.
    """
    decode: Callable[..., ImageArray] = decode_compressed if is_compressed else decode_image
    with _naming(topics.image):
        image = decode(message, significant_bits=significant_bits)
    height, width = image.shape[:2]
    with _naming(topics.info):
        if camera is not None:
            camera.check_size(width, height)
    with _naming('the mask file' if masks.is_fixed else topics.mask):
        mask = masks.mask_for(stamp_ns, width, height)
    return View(image, camera, mask, stamp_ns, message.header.frame_id)


@contextmanager
def _naming(place: str) -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise InvalidInput(f'{place}: {error}') from error
