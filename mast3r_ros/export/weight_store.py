# SPDX-License-Identifier: Apache-2.0
"""The one file that all graphs of a model take their weights from: every tensor once, by name."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.errors import ModelError

_LINE_BYTES = 64  # of a processor's cache: where every tensor may begin
_PAGE_BYTES = 4096  # where a large one begins, so that it can be mapped by itself
_LARGE_BYTES = 1 << 20
_BLOCK_BYTES = 16 << 20  # read at once


@dataclass(frozen=True)
class Place:
    """Where a tensor lies in the file."""

    offset: int
    length: int


class WeightStore:
    """Writes tensors one after the other, or only compares them with a file that is complete.

    :param path: the file; it must not exist yet unless ``places`` are given.
    :param places: what a complete file holds, by name; nothing is added to it then.
    """

    def __init__(self, path: Path, places: Mapping[str, Place] | None = None) -> None:
        self.path = path
        self.places = dict(places or {})
        self._is_complete = places is not None
        self._file = open(path, 'rb' if self._is_complete else 'x+b')  # noqa: SIM115 - kept open
        self._end = path.stat().st_size
        self._hash = hashlib.sha256()

    def put(self, name: str, values: NDArray[Any]) -> Place:
        """Return where a tensor lies, writing it unless the very same is there already.

        :raises ModelError: another tensor of that name is there, or the complete file lacks it.
        """
        content = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
        place = self.places.get(name)
        if place is None:
            place = self.places[name] = self._append(name, content)
        elif not self._holds(place, content):
            raise ModelError(
                f'{self.path} holds other values under {name}; export into another folder, or '
                'replace this one with --overwrite'
            )
        return place

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._end

    def sha256(self) -> str:
        """Return the digest of what was written; of a complete file, read it."""
        if not self._is_complete:
            return self._hash.hexdigest()
        return file_sha256(self.path)

    def sync(self) -> None:
        """Bring what was written onto the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> WeightStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def _append(self, name: str, content: NDArray[np.uint8]) -> Place:
        if self._is_complete:
            raise ModelError(
                f'{self.path} lacks {name}: it was written from other weights or by another '
                'version; export anew with --overwrite'
            )
        step = _PAGE_BYTES if content.nbytes >= _LARGE_BYTES else _LINE_BYTES
        offset = -(-self._end // step) * step
        self._write(memoryview(bytes(offset - self._end)))
        self._write(content.data)
        return Place(offset, content.nbytes)

    def _write(self, content: memoryview) -> None:
        self._file.write(content)
        self._hash.update(content)
        self._end += content.nbytes

    def _holds(self, place: Place, content: NDArray[np.uint8]) -> bool:
        if place.length != content.nbytes:
            return False
        self._file.flush()
        for start in range(0, place.length, _BLOCK_BYTES):
            block = content[start : start + _BLOCK_BYTES]
            there = os.pread(self._file.fileno(), block.nbytes, place.offset + start)
            if there != block.tobytes():
                return False
        return True


def file_sha256(path: Path) -> str:
    """Return the digest of a file."""
    digest = hashlib.sha256()
    with open(path, 'rb') as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
