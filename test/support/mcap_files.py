# SPDX-License-Identifier: Apache-2.0
"""MCAP files made record by record, also such as no recorder would write."""

from __future__ import annotations

import struct
import zlib

import lz4.frame

MAGIC = b'\x89MCAP0\r\n'
LIBRARY_HEADER = ('ros2', 'made by hand')


def record(opcode, body):
    return struct.pack('<BQ', opcode, len(body)) + body


def text(value):
    data = value.encode()
    return struct.pack('<I', len(data)) + data


def schema(number, name):
    return record(0x03, struct.pack('<H', number) + text(name) + text('ros2msg') + text(''))


def channel(number, schema_number, topic, encoding='cdr'):
    head = struct.pack('<HH', number, schema_number)
    return record(0x04, head + text(topic) + text(encoding) + struct.pack('<I', 0))


def message(channel_number, time_ns, data):
    return record(0x05, struct.pack('<HIQQ', channel_number, 0, time_ns, time_ns) + data)


def chunk(records, times, compression='', crc=True):
    packed = lz4.frame.compress(records) if compression == 'lz4' else records
    head = struct.pack(
        '<QQQI', min(times), max(times), len(records), zlib.crc32(records) if crc else 0
    )
    return record(0x06, head + text(compression) + struct.pack('<Q', len(packed)) + packed)


def header():
    return MAGIC + record(0x01, b''.join(text(part) for part in LIBRARY_HEADER))


def ending():
    """What ends a file that has no summary."""
    footer = record(0x02, struct.pack('<QQI', 0, 0, 0))
    return record(0x0F, struct.pack('<I', 0)) + footer + MAGIC


def descriptions(topics):
    """The schema and channel records of topics, numbered from 1."""
    return b''.join(
        schema(number, 'std_msgs/msg/Header') + channel(number, number, topic)
        for number, topic in enumerate(topics, 1)
    )


def chunked(groups, topics, *, compression='', crc=True):
    """A file without a summary: a chunk for each group of (topic, time, data).

    The first chunk describes the topics.
    """
    parts = [header()]
    for place, group in enumerate(groups):
        records = b'' if place else descriptions(topics)
        for topic, time_ns, data in group:
            records += message(topics.index(topic) + 1, time_ns, data)
        parts.append(chunk(records, [time_ns for _, time_ns, _ in group], compression, crc))
    return b''.join([*parts, ending()])


def loose(messages, topics):
    """A file whose messages are in no chunk."""
    records = (
        message(topics.index(topic) + 1, time_ns, data) for topic, time_ns, data in messages
    )
    return header() + descriptions(topics) + b''.join(records) + ending()
