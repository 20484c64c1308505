# SPDX-License-Identifier: Apache-2.0
"""What is read from a bag: topics, and serialised messages with the time of their recording."""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from mast3r_ros.errors import Mast3rError

_log = logging.getLogger(__name__)

FOREVER_NS = 2**63 - 1

Tell = Callable[[str], None]


class UnreadableBag(Mast3rError):
    """A bag, or a file of it, from which nothing can be read."""


@dataclass(frozen=True)
class RecordedTopic:
    """A topic of a bag.

    :param type_name: as ``sensor_msgs/msg/Image``.
    :param count: messages recorded; None where the file does not tell.
    """

    name: str
    type_name: str
    count: int | None


@dataclass(frozen=True)
class RecordedMessage:
    """A message as it was recorded.

    :param time_ns: when it was recorded, not when its picture was taken.
    :param data: CDR, with its four bytes of header.
    """

    topic: str
    time_ns: int
    data: bytes

    @property
    def stamp_ns(self) -> int | None:
        """The stamp of a message that begins with a header; None where it is too short for it."""
        try:
            is_little = self.data[1] & 1
            seconds, nanoseconds = struct.unpack_from('<iI' if is_little else '>iI', self.data, 4)
        except (IndexError, struct.error):
            return None
        return int(seconds) * 1_000_000_000 + int(nanoseconds)


class RecordedFile(Protocol):
    """One file of a bag."""

    topics: dict[str, RecordedTopic]
    start_ns: int | None
    """Time of the first message; None where there is none or the file does not tell."""
    end_ns: int | None
    """Time of the last message, likewise."""

    def messages(
        self, topics: Collection[str], start_ns: int = 0, stop_ns: int = FOREVER_NS
    ) -> Iterator[RecordedMessage]:
        """Yield the messages of some topics in the order of recording, up to ``stop_ns``."""

    def close(self) -> None:
        """Let go of the file."""


class Notices:
    """Sentences about what went wrong; each is said once, and only so many.

    :param tell: is handed each new sentence.
    """

    MOST = 50

    def __init__(self, tell: Tell = _log.warning) -> None:
        self.said: list[str] = []
        self._tell = tell

    def __call__(self, sentence: str) -> None:
        """Say a sentence, unless it was said before."""
        if sentence in self.said or len(self.said) > self.MOST:
            return
        if len(self.said) == self.MOST:
            sentence = 'there is more to complain of than is said here'
        self.said.append(sentence)
        self._tell(sentence)
