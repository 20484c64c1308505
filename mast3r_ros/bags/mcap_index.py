# SPDX-License-Identifier: Apache-2.0
"""Where the messages of an MCAP file lie: read from its summary, or found by walking through it.

A recording that was not ended properly has no summary, and one that was copied badly may be broken
anywhere. Walking finds every chunk that is whole, and what is whole of the others.
"""

from __future__ import annotations

import mmap
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from mast3r_ros.bags.compression import Damaged, unpacked
from mast3r_ros.bags.mcap_records import (
    FOOTER_BYTES,
    HEAD_BYTES,
    MAGIC,
    MESSAGE_BYTES,
    Channel,
    Fields,
    Op,
    head_of,
    is_known,
    read_channel,
    read_chunk_head,
    read_chunk_index,
    read_message_counts,
    read_message_head,
    read_schema,
    records_in,
)
from mast3r_ros.bags.recorded import FOREVER_NS, Tell

_CHUNK_HEAD_MOST = 64  # bytes that hold a chunk's head, whatever its compression is called
_RUN_BYTES = 4 << 20  # of messages outside of any chunk that are read together


@dataclass(frozen=True)
class Block:
    """A stretch of the file that is read at once: a chunk, or messages outside of any.

    :param offset: of its first record, in the file.
    :param end: one past its last byte; 0 for a chunk, which tells itself.
    :param channels: of its messages; empty where that is unknown.
    """

    start_ns: int
    end_ns: int
    offset: int
    end: int = 0
    channels: frozenset[int] = frozenset()


@dataclass
class Index:
    """What an MCAP file holds and where."""

    channels: dict[int, Channel] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    counts: dict[int, int] = field(default_factory=dict)  # messages by channel, if told
    type_names: dict[int, str] = field(default_factory=dict)  # by schema

    def learn(self, opcode: int, body: bytes | memoryview) -> None:
        """Take over what a schema or channel record says."""
        if opcode == Op.SCHEMA:
            number, name = read_schema(body)
            self.type_names[number] = name
        elif opcode == Op.CHANNEL:
            channel = read_channel(body, self.type_names)
            self.channels[channel.number] = channel


def read_summary(file: BinaryIO, size: int) -> Index | None:
    """Return the index that the file ends with; None where it has none that can be relied on."""
    try:
        return _summary_index(file, size)
    except Damaged:
        return None


def _summary_index(file: BinaryIO, size: int) -> Index | None:
    footer_at = size - len(MAGIC) - FOOTER_BYTES
    if footer_at < len(MAGIC):
        return None
    file.seek(footer_at)
    end = file.read()
    if not end.endswith(MAGIC) or head_of(end) != (Op.FOOTER, FOOTER_BYTES - HEAD_BYTES):
        return None
    start = Fields(end[HEAD_BYTES:]).number(8)
    if not len(MAGIC) <= start < footer_at:
        return None
    file.seek(start)
    index, chunks, total = Index(), 0, None
    for opcode, body in records_in(file.read(footer_at - start)):
        index.learn(opcode, body)
        if opcode == Op.CHUNK_INDEX:
            chunk = read_chunk_index(body)
            chunks += 1
            if 0 < chunk.end_ns >= chunk.start_ns:  # else there is no message in it
                index.blocks.append(
                    Block(chunk.start_ns, chunk.end_ns, chunk.offset, channels=chunk.channels)
                )
        elif opcode == Op.STATISTICS:
            total, index.counts = read_message_counts(body)
    tells_all = bool(index.type_names and index.channels and chunks)
    return index if tells_all or total == 0 else None


def walk(file: BinaryIO, size: int, tell: Tell) -> Index:
    """Find everything by reading the file through once.

    :param tell: is told where it is broken.
    """
    index, counts = Index(), Counter[int]()
    run = _Run()
    for opcode, offset, end in _records(file, size, tell):
        if opcode == Op.CHUNK:
            _take_chunk(index, counts, file, offset, size, tell)
        elif opcode in (Op.SCHEMA, Op.CHANNEL):
            file.seek(offset + HEAD_BYTES)
            _learn(index, opcode, file.read(end - offset - HEAD_BYTES), tell)
        elif opcode == Op.MESSAGE and end - offset >= HEAD_BYTES + MESSAGE_BYTES:
            file.seek(offset + HEAD_BYTES)
            channel, time_ns = read_message_head(file.read(MESSAGE_BYTES))
            counts[channel] += 1
            index.blocks += run.add(offset, end, channel, time_ns)
    index.blocks += run.finish()
    index.counts = dict(counts)
    return index


def read_chunk(file: BinaryIO, offset: int, size: int) -> bytes:
    """Return the unpacked records of the chunk at an offset.

    :raises Damaged: it is not whole; what is comes with the error.
    """
    file.seek(offset)
    opcode, length = head_of(file.read(HEAD_BYTES))
    if opcode != Op.CHUNK:
        raise Damaged('it does not begin like one')
    head = read_chunk_head(file.read(min(length, _CHUNK_HEAD_MOST)))
    file.seek(offset + HEAD_BYTES + head.at)
    packed = file.read(min(head.packed_size, size))
    try:
        records = unpacked(packed, head.compression, head.size)
    except Damaged as error:
        if head.crc and len(packed) == head.packed_size:
            raise Damaged(str(error)) from error  # all there and broken: nothing can be trusted
        raise
    if head.crc and zlib.crc32(records) != head.crc:
        raise Damaged('its checksum is wrong')  # and which message is, nobody knows
    return records


def chunk_records(
    file: BinaryIO, offset: int, size: int, tell: Tell
) -> Iterator[tuple[int, memoryview]]:
    """Yield the opcode and body of the records in the chunk at an offset, as far as it is whole.

    :param tell: is told if it is not.
    """
    problem: Damaged | None = None
    try:
        records = read_chunk(file, offset, size)
    except Damaged as error:
        records, problem = error.whole, error
    try:
        yield from records_in(records)
    except Damaged as error:
        problem = problem or error
    if problem is not None:
        rest = 'its beginning is used' if records else 'it is left out'
        tell(f'the chunk at byte {offset} is damaged ({problem}); {rest}')


def _take_chunk(
    index: Index, counts: Counter[int], file: BinaryIO, offset: int, size: int, tell: Tell
) -> None:
    """Learn from a chunk, and note where its messages lie."""
    heads = []
    for opcode, body in chunk_records(file, offset, size, tell):
        _learn(index, opcode, body, tell)
        if opcode == Op.MESSAGE:
            heads.append(read_message_head(body))
    if heads:
        index.blocks.append(_block(heads, offset))
    counts.update(channel for channel, _ in heads)


def _learn(index: Index, opcode: int, body: bytes | memoryview, tell: Tell) -> None:
    try:
        index.learn(opcode, body)
    except Damaged as error:
        tell(f'the description of a topic is damaged: {error}')


def _block(heads: Sequence[tuple[int, int]], offset: int, end: int = 0) -> Block:
    """Return the block of messages of which channel and time are known."""
    times = [time_ns for _, time_ns in heads]
    return Block(min(times), max(times), offset, end, frozenset(channel for channel, _ in heads))


def _records(file: BinaryIO, size: int, tell: Tell) -> Iterator[tuple[int, int, int]]:
    """Yield opcode, offset and end of each record of the file, up to its footer."""
    at = trusted = len(MAGIC)
    while at < size:
        file.seek(at)
        opcode, end = _bounds(file.read(HEAD_BYTES), at)
        if is_known(opcode) and end <= size:
            yield opcode, at, end
            if opcode == Op.FOOTER:
                return
            at = end
            trusted = end if opcode in (Op.CHUNK, Op.MESSAGE) else trusted
            continue
        is_cut_off = opcode == Op.CHUNK and _can_be_chunk(file, at)
        if is_cut_off:
            yield opcode, at, size  # its beginning may be of use
        # What was read since the last chunk may have been nonsense already that led astray.
        following = _next_chunk(file, trusted + 1, size)
        if following is not None or not is_cut_off:
            reach = 'to its end' if following is None else f'up to byte {following}'
            tell(f'the file is cut off or broken from byte {at} {reach}')
        if following is None:
            return
        at = following


def _bounds(head: bytes, at: int) -> tuple[int, int]:
    """Return opcode and end of a record; an end beyond everything where the head is cut off."""
    try:
        opcode, length = head_of(head)
    except Damaged:
        return head[0], FOREVER_NS
    return opcode, at + HEAD_BYTES + length


def _next_chunk(file: BinaryIO, at: int, size: int) -> int | None:
    """Return where the next whole chunk begins."""
    if at >= size:
        return None
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        while (at := data.find(bytes([Op.CHUNK]), at)) >= 0:
            if _can_be_chunk(file, at, whole_in=size):
                return at
            at += 1
    return None


def _can_be_chunk(file: BinaryIO, at: int, whole_in: int | None = None) -> bool:
    """Whether a chunk begins there, going by lengths that must agree.

    :param whole_in: size of the file, where the chunk has to be whole.
    """
    file.seek(at)
    start = file.read(HEAD_BYTES + _CHUNK_HEAD_MOST)
    try:
        opcode, length = head_of(start)
        head = read_chunk_head(start[HEAD_BYTES:])
    except Damaged:
        return False
    fits = whole_in is None or at + HEAD_BYTES + length <= whole_in
    return opcode == Op.CHUNK and fits and head.at + head.packed_size == length


class _Run:
    """Gathers messages outside of chunks, so that some megabytes of them are read at once."""

    def __init__(self) -> None:
        self._heads: list[tuple[int, int]] = []  # channel, time
        self._offset = 0
        self._end = 0

    def add(self, offset: int, end: int, channel: int, time_ns: int) -> list[Block]:
        """Take a message; return the block that it completes, if any."""
        done = []
        if self._heads and (offset != self._end or end - self._offset > _RUN_BYTES):
            done = self.finish()
        if not self._heads:
            self._offset = offset
        self._heads.append((channel, time_ns))
        self._end = end
        return done

    def finish(self) -> list[Block]:
        """Return the block of what was gathered, if anything."""
        if not self._heads:
            return []
        block = _block(self._heads, self._offset, self._end)
        self._heads = []
        return [block]
