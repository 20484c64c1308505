# SPDX-License-Identifier: Apache-2.0
"""What a file is by its first bytes, and a sentence for everything that is no checkpoint."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from mast3r_ros.errors import CheckpointError

_HEAD_BYTES = 512


class FileKind(Enum):
    """The two formats that weights are published in."""

    TORCH = 'PyTorch'
    SAFETENSORS = 'safetensors'


def file_kind(path: Path) -> FileKind:
    """Return the format of a file.

    :raises CheckpointError: with what the file is instead.
    """
    head = _head(path)
    if head.startswith(b'PK\x03\x04'):
        return FileKind.TORCH
    if len(head) >= 9 and head[8:9] == b'{' and int.from_bytes(head[:8], 'little') < 1 << 40:
        return FileKind.SAFETENSORS
    raise CheckpointError(f'{path} is no checkpoint: {_what_it_is(head)}')


def _head(path: Path) -> bytes:
    if not path.exists():
        raise CheckpointError(f'{path} does not exist; mast3r-download fetches published weights')
    if not path.is_file():
        raise CheckpointError(f'{path} is no file; name the .pth or .safetensors file itself')
    try:
        with path.open('rb') as file:
            return file.read(_HEAD_BYTES)
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read: {error.strerror}') from None


def _what_it_is(head: bytes) -> str:
    text = head.lstrip().lower()
    if not head:
        return 'it is empty; fetch it again'
    if text.startswith((b'<!doctype', b'<html', b'<?xml', b'<head')):
        return (
            'it is a web page, perhaps an error or a log-in; fetch it again from another address'
        )
    if text.startswith(b'version https://git-lfs'):
        return 'it is a pointer of Git LFS; fetch the file it stands for (git lfs pull)'
    if text.startswith(b'{'):
        return 'it is JSON text, perhaps the error message of a server; fetch it again'
    if head[:2] in (b'\x80\x02', b'\x80\x03', b'\x80\x04'):
        return (
            'it is a bare pickle, or a PyTorch file of before version 1.6, and neither can be '
            'read safely; use the published file'
        )
    if head.startswith((b'\x1f\x8b', b'BZh', b'\xfd7zXZ', b'7z\xbc\xaf')):
        return 'it is a compressed archive; unpack it first'
    if not any(head):
        return 'its beginning is all zeros, as of a file that was never filled; fetch it again'
    return 'neither a PyTorch file nor safetensors; fetch it again'
