# SPDX-License-Identifier: Apache-2.0
"""One camera's topics: images, calibration and masks become frames for the pipeline."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from functools import partial
from typing import Any

from rclpy.lifecycle import LifecycleNode
from sensor_msgs.msg import CompressedImage, Image

from mast3r_ros.config import ImageTransport, InputConfig, QueueRule
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.mask_store import MaskStore
from mast3r_ros.core.views import LazyView, View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.ros import qos
from mast3r_ros.ros.calibration_input import CalibrationInput
from mast3r_ros.ros.subscriptions import Subscriptions
from mast3r_ros.wire.image_decoding import decode_mask
from mast3r_ros.wire.input_topics import COMPRESSED, beside, counts_as_rectified
from mast3r_ros.wire.input_view import TopicNames, make_view
from mast3r_ros.wire.stamps import stamp_ns

WAITING = 4
"""Images that wait for their mask under mask_policy required, besides those of a queue."""

TakeFrame = Callable[[str, LazyView], None]


class CameraInput:
    """Subscribes to one camera while it is open and hands on a frame for each image.

    Nothing is decoded here: a frame does that in the engine's thread, if it is taken at all.

    :param source: the pairing's name of this camera: left, right or image.
    :param topic: the image topic; ``camera_info`` and ``mask`` lie beside it.
    """

    def __init__(
        self,
        node: LifecycleNode,
        source: str,
        topic: str,
        config: InputConfig,
        masks: MaskStore,
        take: TakeFrame,
    ) -> None:
        self.source = source
        self.masks = masks
        self.received = 0
        self.last_arrival_s: float | None = None  # monotonic
        self.image_topic = node.resolve_topic_name(topic)
        self.mask_topic = _beside(node, topic, 'mask')
        self._node = node
        self._config = config
        self._take = take
        self._drops: Counter[str] = Counter()
        self._waiting: deque[tuple[int, LazyView]] = deque()
        self._keeps_all = config.queue is QueueRule.ALL
        self._may_wait = WAITING + (config.queue_limit if self._keeps_all else 0)
        self._subscriptions = Subscriptions(node)
        self.calibration = CalibrationInput(
            _beside(node, topic, 'camera_info'), rectified=self.rectified
        )
        if config.image_transport is ImageTransport.COMPRESSED:
            self.image_topic += COMPRESSED
        self._names = TopicNames(self.image_topic, self.calibration.topic, self.mask_topic)

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return bool(self._subscriptions)

    @property
    def rectified(self) -> bool:
        """Whether the images count as rectified."""
        return counts_as_rectified(self._config.rectified, self.image_topic)

    @property
    def incompatible(self) -> dict[str, int]:
        """How many publishers cannot be heard, by topic."""
        return dict(self._subscriptions.incompatible)

    @property
    def drops(self) -> dict[str, int]:
        """How many images were dropped, or answered without their mask, by reason."""
        total = Counter(dict(self._drops))  # a copy at once: another thread may count on
        total.update(self.masks.counted)
        return dict(total)

    def publishers(self) -> int:
        """Return how many publishers of the image topic are known."""
        return int(self._node.count_publishers(self.image_topic))

    def open(self) -> None:
        """Begin to listen."""
        if self.is_open:
            return
        try:
            self._subscribe()
        except Exception:
            self._subscriptions.close()
            raise

    def look(self) -> None:
        """Look for a calibration sent once and for what publishers offer; call now and then."""
        if not self.is_open:
            return
        self.calibration.look(self._subscriptions)
        self._subscriptions.look()

    def close(self) -> None:
        """Stop listening; calibration is kept, waiting images are not."""
        self._subscriptions.close()
        self.reset()

    def reset(self) -> None:
        """Forget images and masks that wait for each other."""
        self._waiting.clear()
        self.masks.clear()

    def _subscribe(self) -> None:
        compressed = self._config.image_transport is ImageTransport.COMPRESSED
        self.calibration.open(self._subscriptions)
        if not self.masks.is_fixed:
            self._listen(Image, self.mask_topic, self._on_mask)
        self._listen(CompressedImage if compressed else Image, self.image_topic, self._on_image)

    def _listen(self, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        if self._config.queue is QueueRule.ALL:
            self._subscriptions.add(kind, topic, callback, qos.every_input())
        else:
            self._subscriptions.follow(kind, topic, callback)

    def _on_image(self, message: Any) -> None:
        self.received += 1
        self.last_arrival_s = time.monotonic()
        stamp = self._stamp(message)
        if stamp is None:
            return
        make = partial(self._make_view, message, stamp, self.calibration.camera)
        frame = LazyView(stamp, make)
        if not self.masks.waits or self.masks.has(stamp):
            self._take(self.source, frame)
            return
        self._waiting.append((stamp, frame))
        if len(self._waiting) > self._may_wait:
            self._waiting.popleft()
            self._drops['overflow' if self._keeps_all else 'mask_missing'] += 1

    def _on_mask(self, message: Image) -> None:
        stamp = self._stamp(message)
        if stamp is None:
            return
        self.masks.put(stamp, partial(decode_mask, message))
        while self._waiting and self._waiting[0][0] <= stamp:
            waited_for, frame = self._waiting.popleft()
            if waited_for == stamp:
                self._take(self.source, frame)
            else:
                self._drops['mask_missing'] += 1

    def _stamp(self, message: Any) -> int | None:
        try:
            return stamp_ns(message.header.stamp)
        except InvalidInput:
            self._drops['invalid_stamp'] += 1
            return None

    def _make_view(self, message: Any, stamp: int, camera: Camera | None) -> View:
        """Decode an image; runs in the engine's thread."""
        return make_view(
            message,
            stamp,
            camera or self.calibration.camera,
            self.masks,
            self._names,
            is_compressed=self._config.image_transport is ImageTransport.COMPRESSED,
            significant_bits=self._config.significant_bits,
        )


def _beside(node: LifecycleNode, image: str, name: str) -> str:
    """Return the topic beside an image topic: remapped itself, or moved with the image."""
    own = beside(image, name)
    resolved = str(node.resolve_topic_name(own))
    if resolved != node.resolve_topic_name(own, only_expand=True):
        return resolved
    moved = str(node.resolve_topic_name(image))
    if moved == node.resolve_topic_name(image, only_expand=True):
        return resolved
    return beside(moved, name)
