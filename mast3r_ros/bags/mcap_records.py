# SPDX-License-Identifier: Apache-2.0
"""The records of an MCAP file: how each lies in bytes, as far as reading messages needs it.

A record is an opcode (1 byte), the length of its body (8 bytes) and the body. All numbers are
little-endian. The format is described at mcap.dev/spec.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from mast3r_ros.bags.compression import Damaged

MAGIC = b'\x89MCAP0\r\n'
HEAD_BYTES = 9  # of every record, before its body
FOOTER_BYTES = HEAD_BYTES + 20


class Op(IntEnum):
    """The opcodes of the records that matter here."""

    FOOTER = 0x02
    SCHEMA = 0x03
    CHANNEL = 0x04
    MESSAGE = 0x05
    CHUNK = 0x06
    CHUNK_INDEX = 0x08
    STATISTICS = 0x0B
    LAST = 0x0F
    """No opcode of the format is larger; from 0x80 on they are for private use."""


_HEAD = struct.Struct('<BQ')
_MESSAGE = struct.Struct('<HIQQ')
_CHUNK = struct.Struct('<QQQI')
MESSAGE_BYTES = _MESSAGE.size


@dataclass(frozen=True)
class Channel:
    """A publisher of a topic."""

    number: int
    topic: str
    encoding: str
    type_name: str  # empty where it has no schema


@dataclass(frozen=True)
class ChunkHead:
    """What stands before a chunk's records.

    :param size: bytes of the records when unpacked.
    :param crc: checksum of these, 0 for none.
    :param at: where the packed records begin in the chunk's body.
    """

    start_ns: int
    end_ns: int
    size: int
    crc: int
    compression: str
    packed_size: int
    at: int


@dataclass(frozen=True)
class ChunkIndex:
    """Where a chunk lies, and what for."""

    start_ns: int
    end_ns: int
    offset: int  # in the file, of the record
    channels: frozenset[int]  # empty where the file does not tell


class Fields:
    """Takes the fields out of a record's body, one after the other."""

    def __init__(self, body: bytes | memoryview) -> None:
        self._body = memoryview(body)
        self.at = 0

    def number(self, size: int) -> int:
        """Return an unsigned number of so many bytes."""
        return int.from_bytes(self.blob(size), 'little')

    def text(self) -> str:
        """Return a string."""
        return bytes(self.blob(self.number(4))).decode('utf-8', errors='replace')

    def blob(self, size: int) -> memoryview:
        """Return so many bytes."""
        found = self._body[self.at : self.at + size]
        if len(found) != size:
            raise Damaged('a record ends too early')
        self.at += size
        return found

    def pairs(self, key_size: int, value_size: int) -> dict[int, int]:
        """Return a map of numbers to numbers."""
        end = self.number(4) + self.at
        found = {}
        while self.at < end:
            key = self.number(key_size)
            found[key] = self.number(value_size)
        return found


def head_of(data: bytes | memoryview, at: int = 0) -> tuple[int, int]:
    """Return opcode and body length of the record at a place."""
    try:
        opcode, length = _HEAD.unpack_from(data, at)
    except struct.error:
        raise Damaged('it is cut off') from None
    return int(opcode), int(length)


def records_in(data: bytes | memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield opcode and body of the records that follow each other.

    :raises Damaged: at a record that is cut off or none.
    """
    view = memoryview(data)
    at = 0
    while at < len(view):
        opcode, length = head_of(view, at)
        at += HEAD_BYTES
        is_whole = at + length <= len(view) and (opcode != Op.MESSAGE or length >= MESSAGE_BYTES)
        if not is_known(opcode) or not is_whole:
            raise Damaged('a record in it is broken')
        yield opcode, view[at : at + length]
        at += length


def is_known(opcode: int) -> bool:
    """Whether a byte can be an opcode."""
    return 0 < opcode <= Op.LAST or opcode >= 0x80


def read_schema(body: bytes | memoryview) -> tuple[int, str]:
    """Return a schema's number and the name of its message type."""
    fields = Fields(body)
    return fields.number(2), fields.text()


def read_channel(body: bytes | memoryview, type_names: dict[int, str]) -> Channel:
    """Return a channel.

    :param type_names: message types by the number of their schema.
    """
    fields = Fields(body)
    number, schema = fields.number(2), fields.number(2)
    topic, encoding = fields.text(), fields.text()
    return Channel(number, topic, encoding, type_names.get(schema, ''))


def read_message_head(body: bytes | memoryview) -> tuple[int, int]:
    """Return a message's channel and the time of its recording; of at least MESSAGE_BYTES."""
    channel, _, log_time_ns, _ = _MESSAGE.unpack_from(body)
    return channel, log_time_ns


def read_chunk_head(start_of_body: bytes | memoryview) -> ChunkHead:
    """Return what stands before a chunk's records."""
    fields = Fields(start_of_body)
    start_ns, end_ns, size, crc = _CHUNK.unpack(fields.blob(_CHUNK.size))
    compression, packed_size = fields.text(), fields.number(8)
    return ChunkHead(start_ns, end_ns, size, crc, compression, packed_size, fields.at)


def read_chunk_index(body: bytes | memoryview) -> ChunkIndex:
    """Return where a chunk lies."""
    fields = Fields(body)
    start_ns, end_ns, offset, _length = (fields.number(8) for _ in range(4))
    return ChunkIndex(start_ns, end_ns, offset, frozenset(fields.pairs(2, 8)))


def read_message_counts(body: bytes | memoryview) -> tuple[int, dict[int, int]]:
    """Return from a statistics record how many messages there are, in all and of each channel."""
    fields = Fields(body)
    total = fields.number(8)
    fields.blob(2 + 4 * 4 + 2 * 8)  # numbers of other records, times
    return total, fields.pairs(2, 8)
