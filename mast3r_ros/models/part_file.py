# SPDX-License-Identifier: Apache-2.0
"""A file that is being fetched: what has come so far, and of which file it is a part."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

from mast3r_ros.errors import DownloadError

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_MAX_STATE_BYTES = 1 << 16
_MOST_OPENINGS = 100


class PartFile:
    """``NAME.part`` beside the place where the whole file will lie; one process writes it.

    :raises DownloadError: if another process is fetching it, or the folder cannot be written.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(target.name + '.part')
        self._state_path = target.with_name(target.name + '.part.json')
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._file = _open_locked(self.path)
        except DownloadError:
            raise
        except OSError as error:
            raise DownloadError(f'{self.path} cannot be written: {error.strerror}') from None

    def __enter__(self) -> PartFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._file.closed and not self.size_bytes:
            self.discard()
        self._file.close()

    @property
    def size_bytes(self) -> int:
        """How much has come."""
        return os.fstat(self._file.fileno()).st_size

    @property
    def state(self) -> dict[str, str]:
        """What is remembered of the file that the part is of; empty where nothing is."""
        try:
            if self._state_path.stat().st_size > _MAX_STATE_BYTES:
                return {}
            values = json.loads(self._state_path.read_text(encoding='utf-8'))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(values, dict):
            return {}
        return {str(key): value for key, value in values.items() if isinstance(value, str)}

    def begin(self, state: Mapping[str, str]) -> None:
        """Start from nothing, remembering what the file is."""
        self._file.truncate(0)
        self._file.seek(0)
        write_whole(self._state_path, json.dumps(dict(state), indent=2))

    def go_to_end(self) -> None:
        """Continue behind what has come."""
        self._file.seek(0, os.SEEK_END)

    def write(self, block: bytes) -> None:
        """Write the next bytes through to the system."""
        left = memoryview(block)
        try:
            while left:
                left = left[self._file.write(left) :]  # an almost full disk takes less than all
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise DownloadError(f'{self.path} cannot be written: {error.strerror}') from None
            raise DownloadError(
                f'{self.target.parent} is full ({error.strerror}); make room, then the same '
                'command resumes'
            ) from None

    def free_bytes(self) -> int:
        """Return the room on the disk."""
        return shutil.disk_usage(self.target.parent).free

    def finish(self) -> None:
        """Put the whole file where it belongs, in one step."""
        os.fsync(self._file.fileno())
        os.replace(self.path, self.target)
        self._state_path.unlink(missing_ok=True)
        self._file.close()  # last: it gives the lock away

    def discard(self) -> None:
        """Forget what has come."""
        self.path.unlink(missing_ok=True)
        self._state_path.unlink(missing_ok=True)
        self._file.close()


def write_whole(path: Path, text: str) -> None:
    """Write a small file so that it is there whole or as it was."""
    fresh = path.with_name(f'{path.name}.{os.getpid()}.new')
    try:
        fresh.write_text(text + '\n', encoding='utf-8')
        os.replace(fresh, path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise DownloadError(f'{path} cannot be written: {error.strerror}') from None


def _open_locked(path: Path) -> BinaryIO:
    """Open and lock a part; what it was may be finished or gone before the lock is had."""
    for _ in range(_MOST_OPENINGS):
        file = _open_own(path)
        _lock(file, path)
        if _is_at(file, path):
            return file
        file.close()
    raise DownloadError(f'{path} comes and goes; wait for the processes that fetch it')


def _is_at(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _open_own(path: Path) -> BinaryIO:
    """Open a file for writing, never through a link that leads out of the folder."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, 'O_NOFOLLOW', 0) | getattr(os, 'O_CLOEXEC', 0)
    return os.fdopen(os.open(path, flags, 0o644), 'r+b', buffering=0)


def _lock(file: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:
        return  # no such locks on this system
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise DownloadError(f'{path} is being fetched by another process; wait for it') from None
    except OSError:
        return  # a file system without locks
