# SPDX-License-Identifier: Apache-2.0
"""Core ML's runtime as coremltools offers it, where there is none: packages are computed instead.

Calls must fit the real library's signatures, inputs what the package says.
"""

from __future__ import annotations

import functools
import inspect
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import coremltools
import numpy as np
import pytest
from coreml_graph import PackageProgram
from PIL import Image

_COMPILE = inspect.signature(coremltools.models.utils.compile_model)
_LOAD = inspect.signature(coremltools.models.CompiledMLModel)
_PREDICT = inspect.signature(coremltools.models.CompiledMLModel.predict)


class CoreMlDouble:
    """Takes the runtime's place; remembers what was compiled, loaded and run."""

    def __init__(self) -> None:
        self.compiled: list[str] = []
        self.loaded: list[tuple[str, str]] = []  # stage and compute units
        self.run: list[str] = []

    def install(self, patch: pytest.MonkeyPatch) -> CoreMlDouble:
        """Take the runtime's place in the library, and be an Apple machine."""
        patch.setattr(coremltools.models.utils, 'compile_model', self._compile)
        patch.setattr(coremltools.models, 'CompiledMLModel', self._load)
        patch.setattr('mast3r_ros.engines.coreml_engine.engine.coreml_obstacle', lambda: '')
        return self

    def _compile(self, *given: Any, **named: Any) -> str:
        bound = _COMPILE.bind(*given, **named).arguments
        package, compiled = Path(bound['model']), Path(bound['destination_path'])
        assert package.suffix == '.mlpackage'
        assert compiled.suffix == '.mlmodelc'
        if not (package / 'Manifest.json').is_file():
            raise RuntimeError('the package has no manifest')
        shutil.copytree(package, compiled, copy_function=os.link)
        self.compiled.append(package.stem)
        return str(compiled)

    def _load(self, *given: Any, **named: Any) -> _Model:
        bound = _LOAD.bind(*given, **named).arguments
        assert isinstance(bound['path'], str)
        units = bound['compute_units']
        assert isinstance(units, coremltools.ComputeUnit)
        if not (Path(bound['path']) / 'Manifest.json').is_file():
            raise RuntimeError('a file of the compiled model is missing')
        stage = Path(bound['path']).stem.partition('-')[0]
        self.loaded.append((stage, units.name))
        return _Model(self, stage, _program(Path(bound['path'])))


@functools.lru_cache(maxsize=16)
def _programs(name: str) -> list[PackageProgram]:
    """Return where the program of a compiled package is kept; its name tells it from others."""
    return []


def _program(path: Path) -> PackageProgram:
    kept = _programs(path.name)
    if not kept:
        kept.append(PackageProgram(path))  # reading it takes seconds
    return kept[0]


class _Model:
    def __init__(self, double: CoreMlDouble, stage: str, program: PackageProgram) -> None:
        self._double = double
        self._stage = stage
        self._program = program

    def predict(self, *given: Any, **named: Any) -> dict[str, np.ndarray]:
        data: Mapping[str, Any] = _PREDICT.bind(self, *given, **named).arguments['data']
        wanted = {item.name: item.type for item in self._program.spec.description.input}
        assert data.keys() == wanted.keys()
        self._double.run.append(self._stage)
        inputs = {name: _as_array(value, wanted[name]) for name, value in data.items()}
        return self._program.answer(inputs)


def _as_array(value: Any, kind: Any) -> np.ndarray:
    """Return what the program gets; an image comes as planes of colours, 0 to 255."""
    if kind.WhichOneof('Type') == 'imageType':
        assert isinstance(value, Image.Image)
        assert value.mode == 'RGB'
        assert value.size == (kind.imageType.width, kind.imageType.height)
        planes = np.asarray(value, np.float32).transpose(2, 0, 1)[None]
        return np.ascontiguousarray(planes)
    assert value.dtype == np.float32
    assert value.shape == tuple(kind.multiArrayType.shape)
    return value
