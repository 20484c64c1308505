# SPDX-License-Identifier: Apache-2.0
"""Unpacks zstd and lz4 as far as the data is whole: what a cut-off file still holds comes out."""

from __future__ import annotations

import io
from collections.abc import Iterator
from importlib import import_module
from typing import IO, Any

from mast3r_ros.errors import Mast3rError

ZSTD_START = b'\x28\xb5\x2f\xfd'

_PIECE = 1 << 20  # bytes
# rosbags brings lz4 and, depending on its version and Python's, one of the zstd modules.
_MODULES = {
    'zstd': ('compression.zstd', 'backports.zstd', 'zstandard'),
    'lz4': ('lz4.frame', 'safelz4.frame'),
}


class Damaged(Exception):
    """Something could not be read to its end.

    :param whole: what came before the damage.
    """

    def __init__(self, why: str, whole: bytes = b'') -> None:
        self.whole = whole
        super().__init__(why)


def unpacked(packed: bytes, method: str, size: int | None = None) -> bytes:
    """Return what was packed.

    :param method: '', zstd or lz4.
    :param size: how many bytes it must be, where that is known.
    :raises Damaged: it is cut off or broken.
    """
    if not method:
        found, why = packed, None
    else:
        found, why = _gathered(unpacked_pieces(io.BytesIO(packed), method))
    if why is None and size is not None and len(found) != size:
        why = f'{len(found)} of {size} bytes are there'
    if why is not None:
        raise Damaged(why, found)
    return found


def unpacked_pieces(file: IO[bytes], method: str) -> Iterator[bytes]:
    """Yield what was packed, piece by piece.

    :raises Damaged: it is cut off or broken.
    """
    with _module(method).open(file, 'rb') as stream:
        while True:
            try:
                piece = stream.read1(_PIECE)  # not read: it would lose what precedes the damage
            except Exception as error:  # each module has its own for broken data
                raise Damaged(f'{method} cannot unpack it: {error}') from error
            if not piece:
                return
            yield piece


def _gathered(pieces: Iterator[bytes]) -> tuple[bytes, str | None]:
    whole = []
    try:
        for piece in pieces:
            whole.append(piece)
    except Damaged as error:
        return b''.join(whole), str(error)
    return b''.join(whole), None


def _module(method: str) -> Any:
    if method not in _MODULES:
        raise Damaged(f'it is packed by {method!r}; known are zstd and lz4')
    for name in _MODULES[method]:
        try:
            return import_module(name)
        except ImportError:
            continue
    raise Mast3rError(
        f"this bag is packed with {method}; `pip install 'mast3r_ros[replay]'` unpacks it"
    )
