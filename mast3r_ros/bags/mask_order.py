# SPDX-License-Identifier: Apache-2.0
"""Puts each mask before its image: whoever made it took its time, so it was recorded later."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from mast3r_ros.bags.camera_topics import CameraTopics
from mast3r_ros.bags.recorded import RecordedMessage

MASK_WAIT_NS = 1_000_000_000
"""How much later than its image a mask may have been recorded."""


def masks_first(
    messages: Iterable[RecordedMessage], cameras: Sequence[CameraTopics]
) -> Iterator[RecordedMessage]:
    """Yield the messages in their order, but each image after the mask of its stamp.

    An image is held back until that mask or a later one of its camera comes, or it is too late.
    """
    order = _Order({camera.image: camera.mask for camera in cameras if camera.mask})
    for message in messages:
        order.add(message)
        while order.is_settled(message.time_ns):
            yield from order.take()
    while order.waiting:
        yield from order.take()


class _Order:
    """What is held back.

    :param mask_of: mask topics by their image topics.
    """

    def __init__(self, mask_of: dict[str, str]) -> None:
        self.waiting: deque[RecordedMessage] = deque()
        self._mask_of = mask_of
        self._last_ns: dict[str, int] = {}  # stamp of the last mask, by topic

    def add(self, message: RecordedMessage) -> None:
        self.waiting.append(message)
        if message.topic in self._mask_of.values() and message.stamp_ns is not None:
            self._last_ns[message.topic] = message.stamp_ns

    def is_settled(self, now_ns: int) -> bool:
        """Whether the first message may go."""
        if not self.waiting:
            return False
        first = self.waiting[0]
        mask, stamp_ns = self._mask_of.get(first.topic), first.stamp_ns
        if mask is None or stamp_ns is None or now_ns > first.time_ns + MASK_WAIT_NS:
            return True
        return self._last_ns.get(mask, -1) >= stamp_ns

    def take(self) -> Iterator[RecordedMessage]:
        """Yield the first message, after its mask if that waits behind it."""
        first = self.waiting.popleft()
        topic = self._mask_of.get(first.topic)
        for message in self.waiting:
            if message.topic == topic and message.stamp_ns == first.stamp_ns:
                self.waiting.remove(message)
                yield message
                break
        yield first
