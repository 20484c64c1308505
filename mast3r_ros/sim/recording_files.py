# SPDX-License-Identifier: Apache-2.0
"""The files of a recorded loop: where they lie, how they are written, whether they are whole.

``left.npy`` and ``right.npy`` hold the pictures (pairs, H, W, 3), ``poses.npy`` ``T_world_left``,
``planes.npy`` (pairs, 2, facets, 3) and ``runs.npy`` with ``first_runs.npy`` the truth, and
``loop.json``, written last, the checksums of all but the pictures, which are checked by size alone
so that opening takes no time.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros import __version__
from mast3r_ros.core.cameras import Matrix
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.truth import Runs

UNFINISHED = '.unfinished-'
SIDES = ('left', 'right')
_LIST = 'loop.json'
_SMALL = ('poses', 'planes', 'runs', 'first_runs')
_NAME = re.compile(r'[0-9a-f]{12}-([0-9a-f]{12})')
_ABANDONED_S = 3600.0


class BrokenRecording(Exception):
    """The files of a loop are missing, cut short or damaged."""


@dataclass(frozen=True, eq=False)
class Contents:
    """What the files hold, mapped into memory and read-only."""

    images: tuple[NDArray[np.uint8], NDArray[np.uint8]]
    poses: Matrix
    planes: Matrix
    runs: Runs
    first_runs: NDArray[np.int64]
    first_moving: int


def folder_of(parent: Path, config: SimConfig) -> Path:
    """Return where a loop is kept: other settings or other code, another place."""
    return parent / f'{_digest(config.as_json().encode())}-{_code_digest()}'


def open_files(folder: Path, config: SimConfig) -> Contents:
    """Return a loop's contents; raise :class:`BrokenRecording` unless they are whole."""
    try:
        listed = json.loads((folder / _LIST).read_text())
        for name in _SMALL:
            if _checksum(folder, name) != listed['checksums'][name]:
                raise BrokenRecording(f'{folder / name}.npy is damaged')
        arrays = {name: _mapped(folder, name) for name in (*SIDES, *_SMALL)}
        small = {name: arrays[name] for name in _SMALL}
        images = (arrays['left'], arrays['right'])
        contents = Contents(images, **small, first_moving=int(listed['first_moving']))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BrokenRecording(f'{folder} cannot be read: {error}') from error
    shape = (config.frames, config.height, config.width, 3)
    if any(side.shape != shape or side.dtype != np.uint8 for side in images):
        raise BrokenRecording(f'{folder} holds pictures of another shape than {shape}')
    return contents


class ImageFile:
    """A ``.npy`` file of pictures that several threads fill in any order."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self._file = path.open('wb')
        header = {'descr': '|u1', 'fortran_order': False, 'shape': shape}
        np.lib.format.write_array_header_1_0(self._file, header)
        self._file.flush()
        self._start = self._file.tell()

    def write(self, index: int, image: NDArray[np.uint8]) -> None:
        """Write the picture number ``index``."""
        rest = memoryview(np.ascontiguousarray(image).data).cast('B')
        at = self._start + index * len(rest)
        while rest:
            written = os.pwrite(self._file.fileno(), rest, at)
            at, rest = at + written, rest[written:]

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def save_small(folder: Path, arrays: dict[str, NDArray[Any]], first_moving: int) -> None:
    """Write everything but the pictures; the list last."""
    for name, array in arrays.items():
        np.save(folder / f'{name}.npy', array, allow_pickle=False)
    listed = {
        'first_moving': first_moving,
        'checksums': {name: _checksum(folder, name) for name in _SMALL},
    }
    (folder / _LIST).write_text(json.dumps(listed, indent=1))


def sweep(place: Path) -> None:
    """Remove what can never be used again beside a loop: those of other code, abandoned ones."""
    for path in place.parent.iterdir():
        name = _NAME.fullmatch(path.name)
        outdated = name is not None and name[1] != _code_digest()
        if outdated or (path.name.startswith(UNFINISHED) and _is_abandoned(path)):
            shutil.rmtree(path, ignore_errors=True)


def _is_abandoned(path: Path) -> bool:
    try:
        newest = max(entry.stat().st_mtime for entry in [path, *path.rglob('*')])
    except OSError:  # somebody is at work there
        return False
    return time.time() - newest > _ABANDONED_S


def _checksum(folder: Path, name: str) -> int:
    return zlib.crc32((folder / f'{name}.npy').read_bytes())


def _mapped(folder: Path, name: str) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(folder / f'{name}.npy', mmap_mode='r', allow_pickle=False)
    return mapped


def _code_digest() -> str:
    """Return a digest of the simulator's own sources: what they render may change with them."""
    sources = sorted(Path(__file__).parent.glob('*.py'))
    return _digest(__version__.encode() + b''.join(path.read_bytes() for path in sources))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
