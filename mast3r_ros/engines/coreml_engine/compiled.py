# SPDX-License-Identifier: Apache-2.0
"""Packages that Core ML compiled: once for this machine, kept on disk, loaded when needed."""

from __future__ import annotations

import hashlib
import logging
import os
import platform
import shutil
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mast3r_ros.choices import ComputeUnits
from mast3r_ros.engines.library_errors import first_line
from mast3r_ros.errors import EngineFailed, EngineUnavailable, ModelError
from mast3r_ros.models.description import DECODER, ENCODER

_log = logging.getLogger(__name__)

_IMAGE = 'image'

Arrays = Mapping[str, NDArray[Any]]


class CompiledStage:
    """One stage of one size.

    :param model: ``coremltools.models.CompiledMLModel``.
    :param name: of its package, for errors.
    """

    def __init__(self, model: Any, name: str) -> None:
        self._model = model
        self._name = name

    def run(self, values: Arrays, inputs: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Return the outputs, float32.

        :param inputs: which of the values the stage takes.
        """
        missing = [name for name in inputs if name not in values]
        if missing:
            raise ModelError(
                f'{self._name} takes {missing[0]} and gets nothing: the stages of this model do '
                'not fit each other; convert it anew'
            )
        try:
            made = self._model.predict({name: _as_input(name, values[name]) for name in inputs})
        except Exception as error:  # of many kinds
            raise EngineFailed(f'Core ML failed in {self._name}: {first_line(error)}') from error
        return {name: np.asarray(array, np.float32) for name, array in made.items()}


class CompiledStages:
    """The stages of a model that are loaded.

    :param library: the module ``coremltools``.
    :param cache_folder: compiled packages are kept below it.
    :param weights: digest of the model's weights.
    :param kept_sizes: of each stage; each holds its weights.
    """

    def __init__(
        self,
        library: Any,
        cache_folder: Path,
        weights: str,
        compute_units: ComputeUnits,
        kept_sizes: int = 2,
    ) -> None:
        self._library = library
        self._kept_sizes = kept_sizes
        self._units = library.ComputeUnit[compute_units.value.upper()]
        self._folder = cache_folder / 'engines' / 'coreml' / _key(library, weights)
        self._loaded: dict[str, OrderedDict[Path, CompiledStage]] = {}

    def get(self, stage: str, package: Path) -> CompiledStage | None:
        """Return a stage if it is loaded."""
        sizes = self._loaded.get(stage, OrderedDict())
        found = sizes.get(package)
        if found is not None:
            sizes.move_to_end(package)
        return found

    def load(self, stage: str, package: Path) -> CompiledStage:
        """Load a stage; the size of it that was used longest ago makes room.

        :raises ModelError: Core ML does not take the package.
        """
        sizes = self._loaded.setdefault(stage, OrderedDict())
        while len(sizes) >= self._kept_sizes:
            old, _ = sizes.popitem(last=False)
            _log.info('%s makes room for %s', old.name, package.name)
        sizes[package] = CompiledStage(self._model(package), package.name)
        return sizes[package]

    def drop_heads(self) -> None:
        """Free every stage but encoders and decoders."""
        for stage in [name for name in self._loaded if name not in (ENCODER, DECODER)]:
            del self._loaded[stage]

    def close(self) -> None:
        """Free them all."""
        self._loaded.clear()

    def _model(self, package: Path) -> Any:
        """Return a package's model; what was compiled before and does not load is made anew."""
        compiled = self._folder / f'{package.stem}-{_identity(package)}.mlmodelc'
        if compiled.is_dir():
            try:
                return self._library.models.CompiledMLModel(str(compiled), self._units)
            except Exception as error:  # of many kinds
                _log.warning('%s is compiled anew: %s', package.name, first_line(error))
                shutil.rmtree(compiled, ignore_errors=True)
        self._compile(package, compiled)
        try:
            return self._library.models.CompiledMLModel(str(compiled), self._units)
        except Exception as error:  # of many kinds
            shutil.rmtree(compiled, ignore_errors=True)
            raise ModelError(
                f'Core ML cannot load {package}: {first_line(error)}; convert the model anew'
            ) from error

    def _compile(self, package: Path, compiled: Path) -> None:
        _log.warning('Core ML compiles %s, once for this machine', package.name)
        # Its name must end so; nobody looks for this one.
        unfinished = compiled.with_name(f'.{os.getpid()}-{compiled.name}')
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineUnavailable(
                f'Core ML keeps what it compiles in {self._folder}, which cannot be made: '
                f'{error.strerror}; choose another cache_dir'
            ) from error
        try:
            self._library.models.utils.compile_model(str(package), str(unfinished))
            os.replace(unfinished, compiled)
        except Exception as error:  # of many kinds
            if not compiled.is_dir():  # another process may have been first
                raise ModelError(
                    f'Core ML cannot compile {package}: {first_line(error)}; convert the model '
                    'anew'
                ) from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def _as_input(name: str, value: NDArray[Any]) -> Any:
    if name == _IMAGE:
        return Image.fromarray(value[0])
    return np.ascontiguousarray(value, np.float32)


def _key(library: Any, weights: str) -> str:
    """Return what names all that is compiled of some weights on this machine as it is now."""
    facts = (weights, platform.mac_ver()[0], platform.machine(), str(library.__version__))
    return hashlib.sha256(' '.join(facts).encode()).hexdigest()[:16]


def _identity(package: Path) -> str:
    """Return what tells a package from one that takes its name later."""
    found = [
        (str(file.relative_to(package)), file.stat().st_size, file.stat().st_mtime_ns)
        for file in sorted(package.rglob('*'))
        if file.is_file()
    ]
    return hashlib.sha256(repr(found).encode()).hexdigest()[:12]
