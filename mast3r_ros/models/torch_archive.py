# SPDX-License-Identifier: Apache-2.0
"""A .pth file as the archive that it is: judged whole and harmless without PyTorch."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.pickle_outline import read_outline, refused_globals

_MAX_ENTRIES = 100_000
_MAX_PICKLE_BYTES = 64 << 20  # the largest published is a training state's, under 1 MB
_BLOCK_BYTES = 4 << 20

Told = Callable[[int], None]
"""Is called with how many bytes more were read."""


class TorchArchive:
    """The parts of a .pth file.

    :raises CheckpointError: if the file is cut off, damaged, compressed or of another make.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with zipfile.ZipFile(path) as archive:
                entries = archive.infolist()
                self._top = self._top_folder(entries)
                self._check_entries(entries)
                self._pickle = self._read_pickle(archive)
        except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise self._wrong('it is cut off or damaged; fetch it again') from None
        except OSError as error:
            raise self._wrong(f'it cannot be read: {error}') from None
        prefix = f'{self._top}/data/'
        self._storages = {
            entry.filename.removeprefix(prefix): entry.file_size
            for entry in entries
            if entry.filename.startswith(prefix)
        }

    def contents(self) -> Any:
        """Return what was saved, with an outline in the place of each tensor.

        :raises CheckpointError: if reading it would run or name anything but plain tensors and
            ``argparse.Namespace``; nothing of it is run.
        """
        try:
            refused = refused_globals(self._pickle)
            if refused:
                raise CheckpointError(
                    f'{self.path} was refused and nothing of it was run: it asks for '
                    f'{_listed(refused)}, and only plain tensors and argparse.Namespace are '
                    'allowed in a checkpoint'
                )
            return read_outline(self._pickle, self._storages)
        except CheckpointError as error:
            if str(error).startswith(str(self.path)):
                raise
            raise self._wrong(str(error)) from None

    def verify(self, told: Told = lambda _count: None) -> None:
        """Hold every byte against the checksums that the file itself carries.

        :raises CheckpointError: where they differ.
        """
        with zipfile.ZipFile(self.path) as archive:
            for entry in archive.infolist():
                try:
                    with archive.open(entry) as part:
                        while block := part.read(_BLOCK_BYTES):
                            told(len(block))
                except (zipfile.BadZipFile, EOFError):
                    raise self._wrong(
                        f'its part {entry.filename!r} is damaged; fetch it again'
                    ) from None

    def _check_entries(self, entries: list[zipfile.ZipInfo]) -> None:
        size = self.path.stat().st_size
        if sum(entry.file_size for entry in entries) > size:
            raise self._wrong('its archive claims more bytes than the file has')
        for entry in entries:
            if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
                raise self._wrong(
                    f'its part {entry.filename!r} is compressed or encrypted, which torch.save '
                    'never does'
                )
            if entry.header_offset + entry.file_size > size:
                raise self._wrong('it is cut off or damaged; fetch it again')

    def _top_folder(self, entries: list[zipfile.ZipInfo]) -> str:
        if len(entries) > _MAX_ENTRIES:
            raise self._wrong(f'its archive has {len(entries)} parts; at most {_MAX_ENTRIES}')
        names = [entry.filename for entry in entries]
        pickles = [name for name in names if name.endswith('/data.pkl') and name.count('/') == 1]
        if len(pickles) != 1:
            raise self._wrong('it is a zip archive, but not one of torch.save')
        top = pickles[0].partition('/')[0]
        if len(names) != len(set(names)):
            raise self._wrong('its archive has two parts of one name')
        if any(name.startswith((f'{top}/code/', f'{top}/constants.pkl')) for name in names):
            raise self._wrong(
                'it is a TorchScript program, not weights; use the published checkpoint'
            )
        return top

    def _read_pickle(self, archive: zipfile.ZipFile) -> bytes:
        entry = archive.getinfo(f'{self._top}/data.pkl')
        if entry.file_size > _MAX_PICKLE_BYTES:
            raise self._wrong(
                f'its table of contents has {entry.file_size} bytes; at most {_MAX_PICKLE_BYTES}'
            )
        orders = [item for item in archive.infolist() if item.filename == f'{self._top}/byteorder']
        if orders and archive.read(orders[0]) != b'little':
            raise self._wrong('it was written on a big-endian machine')
        return archive.read(entry)

    def _wrong(self, why: str) -> CheckpointError:
        return CheckpointError(f'{self.path} is no usable checkpoint: {why}')


def _listed(names: list[str]) -> str:
    shown = ', '.join(name[:80] for name in names[:5])
    return shown if len(names) <= 5 else f'{shown} and {len(names) - 5} more'
