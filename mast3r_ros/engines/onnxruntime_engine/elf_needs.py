# SPDX-License-Identifier: Apache-2.0
"""Which libraries a library of Linux needs, read from its file without loading it."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

_MAGIC = b'\x7fELF\x02\x01'  # 64 bits, little end first
_DYNAMIC, _LOAD = 2, 1  # kinds of program headers
_NEEDED, _STRINGS = 1, 5  # kinds of entries of the dynamic section


def needed_libraries(path: Path) -> list[str]:
    """Return the names; none where the file is missing or of another system."""
    try:
        with (
            open(path, 'rb') as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data,
        ):
            return _needed(data) if data[:6] == _MAGIC else []
    except (OSError, ValueError, struct.error, IndexError):
        return []


def _needed(data: mmap.mmap) -> list[str]:
    (start,) = struct.unpack_from('<Q', data, 32)
    size, count = struct.unpack_from('<HH', data, 54)
    headers = [struct.unpack_from('<IIQQQQ', data, start + size * each) for each in range(count)]
    loaded = [
        (address, length, at) for kind, _, at, address, _, length in headers if kind == _LOAD
    ]
    (place, length), *_ = [(each[2], each[5]) for each in headers if each[0] == _DYNAMIC]
    entries = [struct.unpack_from('<QQ', data, place + at) for at in range(0, length, 16)]
    (strings,) = (
        value - address + at
        for kind, value in entries
        if kind == _STRINGS
        for address, size, at in loaded
        if address <= value < address + size
    )
    names = [strings + value for kind, value in entries if kind == _NEEDED]
    return [data[at : data.find(b'\0', at)].decode() for at in names]
