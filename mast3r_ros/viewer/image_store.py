# SPDX-License-Identifier: Apache-2.0
"""The images of the last while as they came, decoded only when a pair of them is shown."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from mast3r_ros.core.views import ImageArray
from mast3r_ros.errors import InvalidInput
from mast3r_ros.viewer.parts import ImagePart

MOST_BYTES = 128_000_000
"""Kept at most: more than two seconds of two cameras of 640x480 at 30 a second."""

CAMERAS = ('left', 'right', 'image')
"""Left and right of a stereo pair, or the one camera of a sequence."""


class ImageStore:
    """Keeps images by camera and stamp, the oldest given up first."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._held = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], tuple[int, Callable[[], ImageArray]]] = (
            OrderedDict()
        )

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, camera: str, stamp_ns: int, size: int, make: Callable[[], ImageArray]) -> None:
        """Keep an image.

        :param size: bytes that keeping it holds.
        :param make: decodes it.
        """
        with self._lock:
            old = self._kept.pop((camera, stamp_ns), None)
            self._held += size - (old[0] if old else 0)
            self._kept[camera, stamp_ns] = (size, make)
            while self._held > self._most and len(self._kept) > 1:
                _, (dropped, _) = self._kept.popitem(last=False)
                self._held -= dropped

    def clear(self) -> None:
        """Give all images up."""
        with self._lock:
            self._kept.clear()
            self._held = 0

    def find(self, stamp_1_ns: int, stamp_2_ns: int | None) -> ImagePart | None:
        """Return the images of a pair; None where view 1's is not here (any more).

        :param stamp_2_ns: nothing: view 2 was taken at the same time.
        """
        image_1 = self._image(('left', 'image'), stamp_1_ns)
        if image_1 is None:
            return None
        same_time = stamp_2_ns is None or stamp_2_ns == stamp_1_ns
        image_2 = self._image(('right',), stamp_1_ns if stamp_2_ns is None else stamp_2_ns)
        if image_2 is None and not same_time and stamp_2_ns is not None:
            image_2 = self._image(('image',), stamp_2_ns)
        return ImagePart(stamp_1_ns, image_1, image_2)

    def _image(self, cameras: tuple[str, ...], stamp_ns: int) -> ImageArray | None:
        for camera in cameras:
            kept = self._kept.get((camera, stamp_ns))
            if kept is not None:
                try:
                    return kept[1]()
                except InvalidInput:  # a broken picture: the cloud's own colours do instead
                    return None
        return None
