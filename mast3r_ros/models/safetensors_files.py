# SPDX-License-Identifier: Apache-2.0
"""Files in the safetensors format, and the description that Hugging Face keeps beside them."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.tensor_outline import ITEM_BYTES, TensorOutline
from mast3r_ros.models.torch_files import import_torch

_DTYPES = {
    'BOOL': 'bool',
    'U8': 'uint8',
    'I8': 'int8',
    'I16': 'int16',
    'I32': 'int32',
    'I64': 'int64',
    'F16': 'float16',
    'BF16': 'bfloat16',
    'F32': 'float32',
    'F64': 'float64',
}
_LENGTH_BYTES = 8  # of the number in front that says how long the header is
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit
_MAX_DESCRIPTION_BYTES = 1 << 20
_MAX_AXES = 8
DESCRIPTION_FILE = 'config.json'


class SafetensorsFile:
    """The header of a file: what it holds and where.

    :raises CheckpointError: if header and file do not fit each other.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open('rb') as file:
            length = int.from_bytes(file.read(_LENGTH_BYTES), 'little')
            if length > min(_MAX_HEADER_BYTES, size - _LENGTH_BYTES):
                raise self._wrong(f'its header should have {length} bytes, the file has {size}')
            header = self._parse(file.read(length))
        self._begin = _LENGTH_BYTES + length
        header.pop('__metadata__', None)
        self.outlines = {
            name: self._outline(name, entry, size - self._begin) for name, entry in header.items()
        }
        self._check_cover(size - self._begin)

    def tensors(self) -> dict[str, Any]:
        """Return the tensors, mapped from the file: changes of them do not reach it."""
        torch = import_torch()
        values = np.memmap(self.path, np.uint8, 'c')
        return {name: self._mapped(torch, values, item) for name, item in self.outlines.items()}

    def _mapped(self, torch: Any, values: Any, outline: TensorOutline) -> Any:
        dtype = getattr(torch, outline.dtype)
        if not outline.count:
            return torch.empty(outline.shape, dtype=dtype)
        begin = self._begin + outline.first
        part = values[begin : begin + outline.bytes]
        if begin % ITEM_BYTES[outline.dtype]:
            part = part.copy()  # processors and PyTorch want a value at a multiple of its size
        return torch.from_numpy(part).view(dtype).reshape(outline.shape)

    def _parse(self, text: bytes) -> dict[str, Any]:
        try:
            header = json.loads(text)
        except (ValueError, RecursionError):
            raise self._wrong('its header is damaged; fetch it again') from None
        if not isinstance(header, dict):
            raise self._wrong('its header is damaged; fetch it again')
        return header

    def _outline(self, name: str, entry: Any, available: int) -> TensorOutline:
        """Return a tensor's outline; ``first`` is in bytes after the header."""
        try:
            shape, dtype = tuple(entry['shape']), _DTYPES[entry['dtype']]
            begin, end = entry['data_offsets']
            whole = all(type(number) is int and number >= 0 for number in (*shape, begin, end))
        except (KeyError, TypeError, ValueError):
            whole = False
        if not whole or len(shape) > _MAX_AXES:
            raise self._wrong(f'its entry {name[:80]!r} is damaged or of an unknown format')
        if end > available or end - begin != math.prod(shape) * ITEM_BYTES[dtype]:
            raise self._wrong(
                f'{name[:80]!r} of shape {list(shape)} does not fit the {available} bytes of '
                'values; the file is cut off or damaged'
            )
        return TensorOutline(shape, dtype, name, begin)

    def _check_cover(self, available: int) -> None:
        """Raise unless the tensors follow each other without gap or overlap."""
        end = 0
        for item in sorted(self.outlines.values(), key=lambda item: (item.first, item.bytes)):
            if item.first != end:
                raise self._wrong('its tensors overlap or leave gaps')
            end += item.bytes
        if end != available:
            raise self._wrong(f'its tensors have {end} bytes, the file has {available} for them')

    def _wrong(self, why: str) -> CheckpointError:
        return CheckpointError(f'{self.path} is no usable safetensors file: {why}')


def model_string_beside(path: Path) -> str | None:
    """Return the model string that ``config.json`` beside a file amounts to; None without one.

    Its bare ``Infinity`` is not JSON, but what Python and so the publisher writes.
    """
    description = path.parent / DESCRIPTION_FILE
    if not description.is_file():
        return None
    return model_string_of(description_values(description))


def description_values(path: Path) -> dict[str, Any]:
    """Return the entries of a published ``config.json``.

    :raises CheckpointError: if it is none.
    """
    try:
        with path.open('rb') as file:
            values = json.loads(file.read(_MAX_DESCRIPTION_BYTES))
    except (ValueError, RecursionError, OSError):
        values = None
    if not isinstance(values, dict) or 'output_mode' not in values:
        raise CheckpointError(f'{path} does not describe a network; fetch it again')
    return values


def model_string_of(values: Mapping[str, Any]) -> str:
    """Return the entries of a published description as the model string they came from."""
    family = 'MASt3R' if 'desc' in str(values['output_mode']) else 'CroCo3DStereo'
    words = [f'{name}={_literal(values[name])}' for name in _KEYWORDS if name in values]
    return f'Asymmetric{family}({", ".join(words)})'


def _literal(value: Any) -> str:
    if isinstance(value, list):
        inner = ', '.join(_literal(item) for item in value)
        return f'({inner},)' if len(value) == 1 else f'({inner})'
    if isinstance(value, float) and math.isinf(value):
        return 'inf' if value > 0 else '-inf'
    return repr(value)


_KEYWORDS = (
    'pos_embed',
    'patch_embed_cls',
    'img_size',
    'patch_size',
    'head_type',
    'output_mode',
    'depth_mode',
    'conf_mode',
    'enc_embed_dim',
    'enc_depth',
    'enc_num_heads',
    'dec_embed_dim',
    'dec_depth',
    'dec_num_heads',
    'two_confs',
    'desc_conf_mode',
)
