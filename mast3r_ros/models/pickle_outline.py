# SPDX-License-Identifier: Apache-2.0
"""The contents of a pickled checkpoint with outlines for tensors, read without running anything.

PyTorch's own safe reading comes later and is stricter than pickle, yet it lets through calls that
reserve any amount of memory (``bytearray(10**12)``). Here nothing is callable but the harmless
stand-ins below, so what a file asks for is known before PyTorch sees it.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.tensor_outline import ITEM_BYTES, TensorOutline

_STORAGES = {
    'torch.FloatStorage': 'float32',
    'torch.DoubleStorage': 'float64',
    'torch.HalfStorage': 'float16',
    'torch.BFloat16Storage': 'bfloat16',
    'torch.LongStorage': 'int64',
    'torch.IntStorage': 'int32',
    'torch.ShortStorage': 'int16',
    'torch.CharStorage': 'int8',
    'torch.ByteStorage': 'uint8',
    'torch.BoolStorage': 'bool',
}
_DTYPES = frozenset(f'torch.{name}' for name in ITEM_BYTES)

# torch.save writes protocol 2; of that, nothing that names or calls in a way it does not use.
_REFUSED_OPCODES = frozenset(
    ('INST', 'OBJ', 'EXT1', 'EXT2', 'EXT4', 'PERSID', 'LONG4', 'LONG', 'INT', 'FLOAT')
)
_OPCODES = frozenset(
    opcode.name
    for opcode in pickletools.opcodes
    if opcode.proto <= 2 and opcode.name not in _REFUSED_OPCODES
)
_CODES = frozenset(ord(op.code) for op in pickletools.opcodes if op.name in _OPCODES)


class Arguments:
    """Stands for ``argparse.Namespace``: a bag of attributes."""


class _Storage:
    """A block of values of one number format."""

    def __init__(self, name: str, dtype: str, count: int) -> None:
        self.name = name
        self.dtype = dtype
        self.count = count


class _Kind:
    """A class of storages, or a number format, that a file names."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Ordered(dict[Any, Any]):
    """Stands for ``collections.OrderedDict``, which a state dict is."""


def refused_globals(data: bytes) -> list[str]:
    """Return what a pickle names beyond plain tensors and ``argparse.Namespace``.

    :raises CheckpointError: if this is no pickle of the make that ``torch.save`` writes.
    """
    named: dict[str, None] = {}
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == 'GLOBAL':
                named[str(argument).replace(' ', '.')] = None
            elif opcode.name not in _OPCODES:
                raise CheckpointError(
                    f'its pickle uses {opcode.name}, which torch.save does not write'
                )
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        raise CheckpointError(f'its pickle is damaged ({error})') from None
    return [name for name in named if name not in _ALLOWED]


def read_outline(data: bytes, storages: Mapping[str, int]) -> Any:
    """Return what was pickled, with a :class:`TensorOutline` for each tensor.

    :param storages: size in bytes of every block of values in the file, by its name.
    :raises CheckpointError: if anything is not what an official file has.
    """
    try:
        return _Reader(data, storages).load()
    except CheckpointError:
        raise
    except Exception as error:  # a damaged pickle can fail in any way
        raise CheckpointError(f'its pickle is damaged ({type(error).__name__}: {error})') from None


class _Reader(pickle._Unpickler):
    # The unpickler in Python, because that in C reserves memory for any memo index a file names.
    # `dispatch` is the way to restrict its opcodes.
    dispatch: ClassVar[dict[int, Callable[..., None]]] = {
        code: method for code, method in pickle._Unpickler.dispatch.items() if code in _CODES
    }

    def __init__(self, data: bytes, storages: Mapping[str, int]) -> None:
        super().__init__(io.BytesIO(data), encoding='latin-1')
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[f'{module}.{name}']
        except KeyError:
            raise CheckpointError(f'its pickle names {module}.{name}') from None

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_kind, name, _location, count = pid
        if kind != 'storage' or not isinstance(storage_kind, _Kind) or not _is_size(count):
            raise CheckpointError('its pickle refers to something other than a block of values')
        dtype = _STORAGES[storage_kind.name]
        held = self._storages.get(str(name))
        if held is None:
            raise CheckpointError(f'its block of values {name!r} is missing')
        if count * ITEM_BYTES[dtype] > held:
            raise CheckpointError(
                f'its block of values {name!r} should have {count * ITEM_BYTES[dtype]} bytes '
                f'and has {held}'
            )
        return _Storage(str(name), dtype, count)

    def load_build(self) -> None:
        state = self.stack.pop()  # type: ignore[attr-defined]
        target = self.stack[-1]  # type: ignore[attr-defined]
        if isinstance(target, Arguments) and isinstance(state, dict):
            vars(target).update({str(key): value for key, value in state.items()})
        elif not isinstance(target, _Ordered):  # its attributes (versions of modules) mean nothing
            raise CheckpointError('its pickle sets attributes of something unexpected')

    dispatch[pickle.BUILD[0]] = load_build


def _rebuild_tensor(
    storage: Any,
    first: Any,
    shape: Any,
    strides: Any,
    _requires_grad: Any = False,
    _hooks: Any = None,
    _metadata: Any = None,
) -> TensorOutline:
    sizes = (first, *shape, *strides)
    if not isinstance(storage, _Storage) or not all(_is_size(size) for size in sizes):
        raise CheckpointError('its pickle describes a tensor that cannot be')
    if len(shape) != len(strides):
        raise CheckpointError('its pickle describes a tensor that cannot be')
    outline = TensorOutline(
        tuple(shape),
        storage.dtype,
        storage.name,
        first,
        _is_contiguous(tuple(shape), tuple(strides)),
    )
    last = first + sum((side - 1) * step for side, step in zip(shape, strides, strict=True))
    if outline.count and (last >= storage.count or outline.count > storage.count):
        raise CheckpointError(
            f'a tensor claims {outline.bytes} bytes in a block of '
            f'{storage.count * ITEM_BYTES[storage.dtype]}'
        )
    return outline


def _rebuild_parameter(data: Any, _requires_grad: Any = False, _hooks: Any = None) -> Any:
    return data


def _plain(*_values: Any) -> None:
    """Stand for a value that no weight depends on: a device, a text's encoding."""


def _size(values: Any = ()) -> tuple[Any, ...]:
    return tuple(values)


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 62


def _is_contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    expected = 1
    for side, step in zip(reversed(shape), reversed(strides), strict=True):
        if side != 1 and step != expected:
            return False
        expected *= side
    return True


_ALLOWED: dict[str, Callable[..., Any] | type | _Kind] = {
    'argparse.Namespace': Arguments,
    'collections.OrderedDict': _Ordered,
    'torch._utils._rebuild_tensor_v2': _rebuild_tensor,
    'torch._utils._rebuild_parameter': _rebuild_parameter,
    'torch.Size': _size,
    'torch.device': _plain,
    '_codecs.encode': _plain,
    **{name: _Kind(name) for name in (*_STORAGES, *_DTYPES)},
}
