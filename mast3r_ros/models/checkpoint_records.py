# SPDX-License-Identifier: Apache-2.0
"""What is remembered beside the checkpoints: the hash of each at first use, accepted licences.

NAVER publishes no hashes. What can be known is whether a file is still what it was when it was
first used; a record tells that.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.part_file import write_whole
from mast3r_ros.models.weights_file import sha256_of

RECORDS_FILE = 'records.json'
_FORMAT = 1


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
        if found != record.get('sha256'):
            raise CheckpointError(
                f'{path} is not what it was on {record.get("since")}: its SHA-256 is {found} '
                f'instead of {record.get("sha256")}; delete it and fetch it again'
            )
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
        self._values = self._read()
        self._values[kind][name] = value
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._path, json.dumps(self._values, indent=2, sort_keys=True))


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec='seconds')
