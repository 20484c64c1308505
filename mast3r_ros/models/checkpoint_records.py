# SPDX-License-Identifier: Apache-2.0
"""What is remembered beside the checkpoints: the hash of each at first use, accepted licences.

NAVER publishes no hashes. What can be known is whether a file is still what it was when it was
first used; a record tells that.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.part_file import write_whole
from mast3r_ros.models.weights_file import WeightsSource, sha256_of

RECORDS_FILE = 'records.json'
_FORMAT = 1
_RECORDED_BELOW = 2  # levels: files lie in the folder of records, or in one of a network there


class CheckpointRecords:
    """The records of a folder of checkpoints; written at once when they change.

    :raises CheckpointError: if the file of records is damaged.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / RECORDS_FILE
        self._values = self._read()

    def accepted(self, key: str) -> bool:
        """Return whether a licence was accepted on this machine."""
        return key in self._values['licences']

    def accept(self, key: str) -> None:
        """Remember that a licence was accepted now."""
        self._put('licences', key, _now())

    def known(self, name: str) -> Mapping[str, Any] | None:
        """Return the record of a file by its path below the folder."""
        record = self._values['files'].get(name)
        return record if isinstance(record, dict) else None

    def remember(self, name: str, sha256: str, origin: str) -> None:
        """Remember a file as it is now.

        :param origin: where it came from.
        """
        size = (self._folder / name).stat().st_size
        record = {'sha256': sha256, 'bytes': size, 'origin': origin, 'since': _now()}
        self._put('files', name, record)

    def verify(self, name: str) -> str | None:
        """Return the hash of a file that is as it was at first use; None without a record.

        :raises CheckpointError: if it has changed.
        """
        record = self.known(name)
        if record is None:
            return None
        path = self._folder / name
        found = sha256_of(path)
        _compare(path, found, record)
        return found

    def _read(self) -> dict[str, Any]:
        if not self._path.is_file():
            return {'format': _FORMAT, 'files': {}, 'licences': {}}
        try:
            values = json.loads(self._path.read_text(encoding='utf-8'))
            whole = values['format'] == _FORMAT
            whole = whole and all(isinstance(values[name], dict) for name in ('files', 'licences'))
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if not whole:
            raise CheckpointError(
                f'{self._path} is damaged; delete it, and the files are checked and recorded anew'
            )
        return dict(values)

    def _put(self, kind: str, name: str, value: Any) -> None:
        """Add an entry to what the file holds by now: others may have written meanwhile."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with _alone(self._folder):
            self._values = self._read()
            self._values[kind][name] = value
            write_whole(self._path, json.dumps(self._values, indent=2, sort_keys=True))


def verify_recorded(file: WeightsSource) -> None:
    """Raise if a file has changed since it was recorded in its folder or the one around that.

    :raises CheckpointError: if it has, or the records are damaged.
    """
    path = Path(os.path.abspath(file.path))
    for folder in path.parents[:_RECORDED_BELOW]:
        record = CheckpointRecords(folder).known(path.relative_to(folder).as_posix())
        if record is not None:
            _compare(path, file.sha256, record)


def _compare(path: Path, found: str, record: Mapping[str, Any]) -> None:
    if found != record.get('sha256'):
        raise CheckpointError(
            f'{path} is not what it was on {record.get("since")}: its SHA-256 is {found} '
            f'instead of {record.get("sha256")}; delete it and fetch it again'
        )


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait until no other process writes the records, and keep them out meanwhile."""
    try:
        import fcntl
    except ImportError:
        yield  # no such locks on this system
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='seconds')
