# SPDX-License-Identifier: Apache-2.0
"""Whether the libraries are here that ONNX Runtime was linked against, in those very versions.

They are looked at before a session is made: ONNX Runtime itself says in its log alone that a
library is missing, and runs on the processor instead.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mast3r_ros.engines.onnxruntime_engine.elf_needs import needed_libraries
from mast3r_ros.engines.onnxruntime_engine.providers import Provider
from mast3r_ros.engines.outcomes import library_version
from mast3r_ros.errors import EngineUnavailable

_NVIDIA = re.compile(r'lib(cu|nv)\w+\.so(\.\d+)*')
_TENSORRT = re.compile(r'lib(nvinfer|nvonnxparser)\w*\.so\.(\d+)')
_DRIVER = 'libcuda.so.1'


def check_card_libraries(
    library: Any, provider: Provider, load: Callable[[str], object] = ctypes.CDLL
) -> None:
    """Load what a provider needs of NVIDIA's libraries.

    :param library: the module ``onnxruntime``.
    :param load: makes a library part of the process; raises OSError where it cannot.
    :raises EngineUnavailable: one is missing or of another version; the sentence names the cure.
    """
    capi = Path(library.__file__).parent / 'capi'
    names = [each.library for each in (provider, *provider.beside)]
    needed = [
        name
        for path in (capi / name for name in names)
        for name in needed_libraries(path)
        if _NVIDIA.fullmatch(name)
    ]
    _load_from_packages(library, capi.parents[1], needed, load)
    missing = [name for name in dict.fromkeys(needed) if not _can_load(name, load)]
    if missing:
        version = str(library.__version__)
        raise EngineUnavailable(
            f'onnxruntime {version} was built for {", ".join(missing)}, which cannot be loaded '
            f'here{_installed(missing)}; {_cure(missing)}'
        )


def _load_from_packages(
    library: Any, packages: Path, needed: Sequence[str], load: Callable[[str], object]
) -> None:
    """Load what pip installed: the system looks there for none of it."""
    preload = getattr(library, 'preload_dlls', None)  # since ONNX Runtime 1.21
    if preload is not None:
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it lacks
            preload()
    for name in needed:
        path = packages / 'tensorrt_libs' / name
        if path.is_file():
            with contextlib.suppress(OSError):  # the check that follows tells
                load(str(path))


def _can_load(name: str, load: Callable[[str], object]) -> bool:
    try:
        load(name)
    except OSError:
        return False
    return True


def _installed(missing: Sequence[str]) -> str:
    if any(_TENSORRT.fullmatch(name) for name in missing):
        return f' (tensorrt {library_version("tensorrt")} is installed by pip)'
    return ''


def _cure(missing: Sequence[str]) -> str:
    """Return what gives the libraries."""
    cures = []
    if _DRIVER in missing:
        cures.append('install the driver of the card (nvidia-smi shows it)')
    majors = [found[2] for found in map(_TENSORRT.fullmatch, missing) if found]
    if majors:
        cures.append(f"pip install 'tensorrt=={majors[0]}.*'")
    others = [name for name in missing if name != _DRIVER and not _TENSORRT.fullmatch(name)]
    if others:
        cures.append("pip install 'onnxruntime-gpu[cuda,cudnn]' of the same version")
    python = f'{sys.version_info.major}.{sys.version_info.minor}'
    return ', '.join(cures) + f', or an onnxruntime-gpu for what is here (Python {python})'
