# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime's providers for cards are refused, with the cure, before a library is lacked."""

from __future__ import annotations

import _ctypes
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from mast3r_ros.engines.onnxruntime_engine.card_libraries import check_card_libraries
from mast3r_ros.engines.onnxruntime_engine.elf_needs import needed_libraries
from mast3r_ros.engines.onnxruntime_engine.providers import Provider, cuda, tensorrt
from mast3r_ros.errors import EngineUnavailable

# As the published onnxruntime-gpu 1.31.1 has them.
CUDA = ('libcublasLt.so.13', 'libcublas.so.13', 'libcurand.so.10', 'libcudart.so.13')
TENSORRT = ('libnvinfer.so.10', 'libnvonnxparser.so.10', 'libcudart.so.13', 'libcudnn.so.9')


def write_library(path: Path, needs: tuple[str, ...]) -> None:
    """Write as much of a library of Linux as says what it needs."""
    strings = b'\0' + b''.join(name.encode() + b'\0' for name in needs)
    places = [strings.index(name.encode()) for name in needs]
    head, headers = 64, 2 * 56
    shift = 0x1000  # between a place in the file and in memory
    entries = [(1, place) for place in places] + [(5, head + headers + shift), (0, 0)]
    dynamic = b''.join(struct.pack('<QQ', *entry) for entry in entries)
    at = head + headers + len(strings)
    loaded = struct.pack('<IIQQQQQQ', 1, 4, 0, shift, shift, at, at, 8)
    found = struct.pack('<IIQQQQQQ', 2, 4, at, 0, 0, len(dynamic), 0, 8)
    start = b'\x7fELF\x02\x01\x01'.ljust(32, b'\0') + struct.pack('<QQIHHH', 64, 0, 0, 64, 56, 2)
    path.write_bytes(start.ljust(head, b'\0') + loaded + found + strings + dynamic)


@pytest.fixture
def library(tmp_path: Path) -> ModuleType:
    """An ONNX Runtime for cards, as pip lays it out."""
    capi = tmp_path / 'onnxruntime' / 'capi'
    capi.mkdir(parents=True)
    write_library(capi / 'libonnxruntime_providers_cuda.so', (*CUDA, 'libcuda.so.1', 'libc.so.6'))
    write_library(capi / 'libonnxruntime_providers_tensorrt.so', (*TENSORRT, 'libm.so.6'))
    module = ModuleType('onnxruntime')
    module.__file__ = str(capi.parent / '__init__.py')
    module.__version__ = '1.31.1'  # type: ignore[attr-defined]
    return module


def loading(*present: str) -> Callable[[str], object]:
    """Return what loads libraries of a machine that has some of them."""

    def load(name: str) -> object:
        if Path(name).name not in present:
            raise OSError(f'{name}: cannot open shared object file')
        return name

    return load


def test_what_a_library_needs_is_read_from_its_file(tmp_path: Path) -> None:
    write_library(tmp_path / 'made.so', CUDA)
    assert needed_libraries(tmp_path / 'made.so') == list(CUDA)
    if sys.platform == 'linux':
        assert 'libc.so.6' in needed_libraries(Path(_ctypes.__file__))
    whole = (tmp_path / 'made.so').read_bytes()
    for end in range(0, len(whole), 7):  # cut anywhere: no names, no error
        (tmp_path / 'cut.so').write_bytes(whole[:end])
        assert set(needed_libraries(tmp_path / 'cut.so')) <= {*CUDA, *_parts(CUDA)}
    assert needed_libraries(tmp_path / 'none.so') == []


def _parts(names: tuple[str, ...]) -> set[str]:
    return {name[:end] for name in names for end in range(len(name))}


@pytest.mark.parametrize(
    ('provider', 'present', 'sentence'),
    [
        (
            cuda(0),
            (*CUDA[:3], 'libcuda.so.1'),
            r'built for libcudart\.so\.13, which cannot .*onnxruntime-gpu\[cuda,cudnn\]',
        ),
        (cuda(0), CUDA, r'built for libcuda\.so\.1, .*install the driver of the card'),
        (
            tensorrt(0, Path()),
            (*CUDA, 'libcuda.so.1', 'libcudnn.so.9', 'libnvinfer.so.11'),
            r"libnvinfer\.so\.10, libnvonnxparser\.so\.10.*pip install 'tensorrt==10\.\*'",
        ),
    ],
)
def test_a_version_that_is_missing_is_named_with_its_cure(
    provider: Provider, present: tuple[str, ...], sentence: str, library: ModuleType
) -> None:
    with pytest.raises(EngineUnavailable, match=sentence):
        check_card_libraries(library, provider, loading(*present))


def test_what_pip_installed_is_loaded_first(library: ModuleType, tmp_path: Path) -> None:
    """The system looks for libraries in none of pip's folders."""
    (tmp_path / 'tensorrt_libs').mkdir()
    for name in TENSORRT[:2]:
        (tmp_path / 'tensorrt_libs' / name).touch()
    loaded: set[str] = set()

    def load(name: str) -> object:
        path = Path(name)
        if path.is_absolute() and path.is_file():
            loaded.add(path.name)
        elif name not in loaded:
            raise OSError(name)
        return name

    def preload_dlls() -> None:
        print('a remark that nobody should see')
        loaded.update((*CUDA, 'libcuda.so.1', 'libcudnn.so.9'))

    library.preload_dlls = preload_dlls  # type: ignore[attr-defined]
    check_card_libraries(library, tensorrt(0, tmp_path), load)
    assert set(TENSORRT) <= loaded
