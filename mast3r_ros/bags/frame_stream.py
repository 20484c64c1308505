# SPDX-License-Identifier: Apache-2.0
"""Messages of a bag become frames for the pairing, each with its calibration and its mask."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mast3r_ros.bags.camera_topics import (
    CAMERA_INFO,
    COMPRESSED_IMAGE,
    IMAGE,
    CameraTopics,
)
from mast3r_ros.bags.mask_order import masks_first
from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.bags.recorded import RecordedMessage, Tell
from mast3r_ros.config import InputConfig, MaskPolicy
from mast3r_ros.core.images import load_mask
from mast3r_ros.core.mask_store import MaskStore
from mast3r_ros.core.views import LazyView
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.calibration import Calibration
from mast3r_ros.wire.image_decoding import decode_mask
from mast3r_ros.wire.input_topics import counts_as_rectified
from mast3r_ros.wire.input_view import TopicNames, make_view
from mast3r_ros.wire.stamps import stamp_ns


class FrameStream:
    """The cameras of a bag.

    In a bag everything is there, so an image gets the mask of its stamp even if that was recorded
    later, unless the policy is to take the latest.

    :param tell: is told what is wrong with calibrations and messages.
    """

    def __init__(
        self,
        cameras: Sequence[CameraTopics],
        config: InputConfig,
        types: MessageTypes,
        tell: Tell,
    ) -> None:
        paths = (config.mask_file_1, config.mask_file_2)
        self._cameras = [
            _Camera(topics, config, path, types, tell)
            for topics, path in zip(cameras, paths, strict=False)
        ]
        self._waits_for_masks = config.mask_policy is not MaskPolicy.LATEST

    @property
    def drops(self) -> Counter[str]:
        """How many images and masks came to nothing so far, by reason."""
        total = Counter[str]()
        for camera in self._cameras:
            total += camera.drops + Counter(camera.masks.counted)
        return total

    def learn_calibration(self, messages: Iterable[RecordedMessage]) -> None:
        """Take the first calibration of each camera that has none yet, before any image."""
        for message in messages:
            for camera in self._cameras:
                if camera.topics.info == message.topic and not camera.has_calibration:
                    camera.take_info(message)

    def frames(self, messages: Iterable[RecordedMessage]) -> Iterator[tuple[str, LazyView]]:
        """Yield the cameras' frames, in the order of recording, by the pairing's names."""
        if self._waits_for_masks:
            messages = masks_first(messages, [camera.topics for camera in self._cameras])
        for message in messages:
            for camera in self._cameras:
                frame = camera.take(message)
                if frame is not None:
                    yield camera.topics.source, frame


class _Camera:
    """One camera's calibration, masks and counters."""

    def __init__(
        self,
        topics: CameraTopics,
        config: InputConfig,
        mask_file: Path | None,
        types: MessageTypes,
        tell: Tell,
    ) -> None:
        self.topics = topics
        self.drops = Counter[str]()
        self.masks = MaskStore(config.mask_policy, load_mask(mask_file) if mask_file else None)
        self._names = TopicNames(topics.image, topics.info or '', topics.mask or '')
        self._significant_bits = config.significant_bits
        self._types = types
        self._tell = tell
        self._calibration = Calibration(
            rectified=counts_as_rectified(config.rectified, topics.image)
        )

    @property
    def has_calibration(self) -> bool:
        """Whether a usable calibration has come."""
        return self._calibration.camera is not None

    def take(self, message: RecordedMessage) -> LazyView | None:
        """Take a message of any topic; return a frame if it is an image of this camera."""
        if message.topic == self.topics.image:
            return self._take_image(message)
        if message.topic == self.topics.info:
            self.take_info(message)
        elif message.topic == self.topics.mask:
            self._take_mask(message)
        return None

    def take_info(self, message: RecordedMessage) -> None:
        """Take a calibration over."""
        info = self._read(message, CAMERA_INFO)
        if info is not None:
            self._calibration.take(info)
        if self._calibration.problem is not None:
            self._tell(f'{message.topic}: {self._calibration.problem}')

    def _take_image(self, message: RecordedMessage) -> LazyView | None:
        image = self._read(message, self.topics.type_name)
        stamp = self._stamp(image)
        if stamp is None:
            return None
        if self.masks.waits and not self.masks.has(stamp):
            self.drops['mask_missing'] += 1
            return None
        make = partial(
            make_view,
            image,
            stamp,
            self._calibration.camera,
            self.masks,
            self._names,
            is_compressed=self.topics.type_name == COMPRESSED_IMAGE,
            significant_bits=self._significant_bits,
        )
        return LazyView(stamp, make)

    def _take_mask(self, message: RecordedMessage) -> None:
        mask = self._read(message, IMAGE)
        stamp = self._stamp(mask)
        if stamp is not None:
            self.masks.put(stamp, partial(decode_mask, mask))

    def _read(self, message: RecordedMessage, type_name: str) -> Any:
        """Return the message, or None for one that is broken."""
        try:
            return self._types.read(message.data, type_name)
        except InvalidInput as error:
            self.drops['invalid_message'] += 1
            self._tell(f'{message.topic}: {error}')
            return None

    def _stamp(self, message: Any) -> int | None:
        if message is None:
            return None
        try:
            return stamp_ns(message.header.stamp)
        except InvalidInput:
            self.drops['invalid_stamp'] += 1
            return None
