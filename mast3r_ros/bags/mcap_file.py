# SPDX-License-Identifier: Apache-2.0
"""Reads an MCAP file in the order of recording, whole or damaged, a chunk at a time."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import BinaryIO

from mast3r_ros.bags.mcap_index import Block, Index, chunk_records, read_summary, walk
from mast3r_ros.bags.mcap_records import MAGIC, MESSAGE_BYTES, Op, read_message_head, records_in
from mast3r_ros.bags.recorded import (
    FOREVER_NS,
    RecordedMessage,
    RecordedTopic,
    Tell,
    UnreadableBag,
)

_CDR = 'cdr'


class McapFile:
    """An MCAP file.

    :param tell: is told what is damaged.
    :raises UnreadableBag: it is no MCAP file.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._name = path.name
        self._tell_of = tell
        self._file: BinaryIO = path.open('rb')
        self._size = path.stat().st_size
        try:
            self._index = self._read_index()
        except BaseException:
            self._file.close()
            raise
        self.topics = _topics(self._index, self._tell)
        blocks = self._index.blocks
        self.start_ns = min((block.start_ns for block in blocks), default=None)
        self.end_ns = max((block.end_ns for block in blocks), default=None)

    def messages(
        self, topics: Collection[str], start_ns: int = 0, stop_ns: int = FOREVER_NS
    ) -> Iterator[RecordedMessage]:
        """Yield messages in the order of recording; damaged places are told and passed over."""
        channels = {
            number: channel.topic
            for number, channel in self._index.channels.items()
            if channel.topic in topics and channel.encoding == _CDR
        }
        blocks = [
            block
            for block in self._index.blocks
            if block.start_ns < stop_ns
            and block.end_ns >= start_ns
            and (not block.channels or block.channels & channels.keys())
        ]
        waiting: list[tuple[int, int, int, RecordedMessage]] = []  # time, block, place in it
        for block in sorted(blocks, key=lambda block: (block.start_ns, block.offset)):
            while waiting and waiting[0][0] < block.start_ns:
                yield heapq.heappop(waiting)[-1]
            for place, message in enumerate(self._messages_of(block, channels)):
                if start_ns <= message.time_ns < stop_ns:
                    entry = (message.time_ns, block.offset, place, message)
                    heapq.heappush(waiting, entry)
        while waiting:
            yield heapq.heappop(waiting)[-1]

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _read_index(self) -> Index:
        if self._file.read(len(MAGIC)) != MAGIC:
            raise UnreadableBag(f'{self._name} is no MCAP file: it does not begin like one')
        index = read_summary(self._file, self._size)
        if index is None:
            self._tell('the file has no index (it was not closed properly); all of it is searched')
            index = walk(self._file, self._size, self._tell)
        return index

    def _messages_of(self, block: Block, channels: dict[int, str]) -> Iterator[RecordedMessage]:
        for opcode, body in self._records_of(block):
            if opcode != Op.MESSAGE:
                continue
            channel, time_ns = read_message_head(body)
            if channel in channels:
                yield RecordedMessage(channels[channel], time_ns, bytes(body[MESSAGE_BYTES:]))

    def _records_of(self, block: Block) -> Iterator[tuple[int, memoryview]]:
        if not block.end:
            return chunk_records(self._file, block.offset, self._size, self._tell)
        self._file.seek(block.offset)
        return records_in(self._file.read(block.end - block.offset))

    def _tell(self, sentence: str) -> None:
        self._tell_of(f'{self._name}: {sentence}')


def _topics(index: Index, tell: Tell) -> dict[str, RecordedTopic]:
    counts = Counter[str]()
    for number, channel in index.channels.items():
        counts[channel.topic] += index.counts.get(number, 0)
    told = bool(index.counts)
    lost = sum(count for number, count in index.counts.items() if number not in index.channels)
    if lost:
        tell(f'{lost} messages are of topics whose description is lost')
    return {
        channel.topic: RecordedTopic(
            channel.topic, channel.type_name, counts[channel.topic] if told else None
        )
        for channel in index.channels.values()
    }
