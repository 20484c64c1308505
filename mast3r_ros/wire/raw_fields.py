# SPDX-License-Identifier: Apache-2.0
"""Reads single fields of a message that may hold anything: whole numbers, text, bytes."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.errors import InvalidInput

UINT32_MAX = 2**32 - 1
_SHOWN_CHARACTERS = 40  # of a text that may be megabytes long

ByteArray = NDArray[np.uint8]


def whole_number(message: object, name: str, high: int = UINT32_MAX) -> int:
    """Return the field as an int from 0 to ``high``."""
    value = getattr(message, name, None)
    try:
        number = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise InvalidInput(
            f'{name} is a {type(value).__name__}; it must be a whole number'
        ) from None
    if not 0 <= number <= high:
        raise InvalidInput(f'{name} is below 0 or above {high}; check what publishes it')
    return number


def text(message: object, name: str) -> str:
    """Return the field as a string."""
    value = getattr(message, name, None)
    if not isinstance(value, str):
        raise InvalidInput(f'{name} is a {type(value).__name__}; it must be a string')
    return value


def shown(value: str) -> str:
    """Return the text quoted and cut to a length that fits a log line."""
    cut = value[:_SHOWN_CHARACTERS]
    return repr(cut) if cut == value else f'{cut!r}...'


def byte_view(message: object, name: str = 'data') -> ByteArray:
    """Return the field's bytes (N,), read-only and without a copy where memory can be shared.

    Takes bytes, bytearray, memoryview, ``array.array('B')``, a uint8 array or a list of numbers.
    While the view lives, a bytearray or an array.array under it cannot change its length.
    """
    value: Any = getattr(message, name, None)
    try:
        view: ByteArray = _flat(value).view()
    except (TypeError, ValueError, BufferError):
        raise InvalidInput(
            f'{name} is a {type(value).__name__} that holds no plain bytes; give bytes, '
            "array.array('B') or a uint8 array"
        ) from None
    view.setflags(write=False)
    return view


def _flat(value: Any) -> ByteArray:
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in 'ui' or value.dtype.itemsize != 1:
            raise TypeError('no array of bytes')
        return np.asarray(value.reshape(-1).view(np.uint8))
    if isinstance(value, (list, tuple)):
        return np.frombuffer(bytes(value), np.uint8)
    memory = memoryview(value)
    if memory.itemsize != 1:
        raise TypeError('its items are no bytes')
    return np.frombuffer(memory.cast('B') if memory.nbytes else b'', np.uint8)
