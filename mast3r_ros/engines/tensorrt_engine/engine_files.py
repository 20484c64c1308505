# SPDX-License-Identifier: Apache-2.0
"""Built engines on disk: each says what it was built of, for and by, and serves that alone."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mast3r_ros.engines.tensorrt_engine.cuda_access import Card
from mast3r_ros.errors import EngineUnavailable, ModelError
from mast3r_ros.models.description import Shape, size_name
from mast3r_ros.models.folder import ModelFolder

_log = logging.getLogger(__name__)

_FIRST_LINE = b'mast3r_ros engine of TensorRT, form 1\n'
_LONGEST_HEAD = 1 << 16  # bytes; real ones have some hundred


@dataclass(frozen=True)
class EngineKey:
    """All that must be the same for a built engine to be used.

    :param weights: digest of the model's weights.
    :param graph: digest of the stage's graph.
    """

    weights: str
    graph: str
    stage: str
    size: str
    precision: str
    tensorrt: str
    card: str
    capability: str
    driver: str


class EngineFiles:
    """The built engines of one model for one card.

    :param cache_folder: they lie in a folder of it for each model and card.
    :param version: of TensorRT.
    """

    def __init__(self, cache_folder: Path, model: ModelFolder, card: Card, version: str) -> None:
        self._model = model
        self.card = card
        self._version = version
        self._named: set[Path] = set()
        capability = '.'.join(map(str, card.capability))
        home = cache_folder / 'engines' / 'tensorrt'
        machine = _as_file_name(f'{card.name}-{capability}')
        self.folder = home / model.description.weights.sha256[:16] / machine
        self.timing_path = home / 'timing' / f'{machine}-{_as_file_name(version)}.cache'

    def path(self, stage: str, shape_1: Shape, shape_2: Shape) -> Path:
        """Return where the engine of a stage lies."""
        return self.folder / f'{size_name(shape_1, shape_2)}_{stage}.engine'

    def key(self, stage: str, shape_1: Shape, shape_2: Shape) -> EngineKey:
        """Return what an engine of a stage must be built of, for and by."""
        model = self._model.description
        return EngineKey(
            weights=model.weights.sha256,
            graph=_digest(self._model.stage_path(stage, shape_1, shape_2)),
            stage=stage,
            size=size_name(shape_1, shape_2),
            precision=model.precision.value,
            tensorrt=self._version,
            card=self.card.name,
            capability='.'.join(map(str, self.card.capability)),
            driver=self.card.driver,
        )

    def read(self, stage: str, shape_1: Shape, shape_2: Shape) -> bytes | None:
        """Return a built engine, if it is whole and this very one."""
        path = self.path(stage, shape_1, shape_2)
        try:
            return read_engine(path, self.key(stage, shape_1, shape_2))
        except FileNotFoundError:
            return None
        except (ModelError, OSError) as error:
            if path not in self._named:  # it is looked at several times before it is replaced
                self._named.add(path)
                _log.warning('%s is built anew: %s', path, error)
            return None

    def write(
        self,
        stage: str,
        shape_1: Shape,
        shape_2: Shape,
        plan: bytes,
        built_with: Mapping[str, Any],
    ) -> None:
        """Keep a built engine; where it cannot be, say so: it is as good without the file."""
        path = self.path(stage, shape_1, shape_2)
        try:
            write_engine(path, self.key(stage, shape_1, shape_2), plan, built_with)
        except OSError as error:
            _log.warning('%s cannot be kept and is built at every start: %s', path, error.strerror)

    def read_timing(self) -> bytes:
        """Return what earlier builds measured on this card, or nothing."""
        try:
            return self.timing_path.read_bytes()
        except OSError:
            return b''

    def write_timing(self, content: bytes) -> None:
        """Keep what builds measured; it only saves time."""
        try:
            write_atomically(self.timing_path, content)
        except OSError as error:
            _log.info('%s cannot be kept: %s', self.timing_path, error.strerror)

    def check_place(self) -> None:
        """Raise where no file can be kept, before minutes are spent.

        :raises EngineUnavailable: the folder cannot be made or written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            trial = self.folder / f'.trial.{os.getpid()}'
            trial.touch()
            trial.unlink()
        except OSError as error:
            raise EngineUnavailable(
                f'built engines are kept in {self.folder}, which cannot be written: '
                f'{error.strerror}; choose another cache_dir'
            ) from error


def read_engine(path: Path, key: EngineKey) -> bytes:
    """Return the engine in a file.

    :raises ModelError: it is damaged, or of another model, card, driver or TensorRT.
    """
    with open(path, 'rb') as file:
        if file.read(len(_FIRST_LINE)) != _FIRST_LINE:
            raise ModelError('it is no engine of this package')
        head = _head(file.readline(_LONGEST_HEAD))
        plan = file.read()
    if head.get('key') != asdict(key):
        raise ModelError(f'it was built for another {_difference(head.get("key"), key)}')
    if head.get('bytes') != len(plan) or head.get('sha256') != hashlib.sha256(plan).hexdigest():
        raise ModelError('it is damaged')
    return plan


def write_engine(path: Path, key: EngineKey, plan: bytes, built_with: Mapping[str, Any]) -> None:
    """Write an engine with what it must be used with; whole or not at all."""
    head = {
        'key': asdict(key),
        'bytes': len(plan),
        'sha256': hashlib.sha256(plan).hexdigest(),
        'built_with': dict(built_with),
    }
    write_atomically(path, _FIRST_LINE, json.dumps(head).encode() + b'\n', plan)


def write_atomically(path: Path, *parts: bytes) -> None:
    """Write a file so that nobody ever sees a part of it, even after a power cut."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.name}.{os.getpid()}.unfinished')
    try:
        with open(unfinished, 'wb') as file:
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def _head(line: bytes) -> dict[str, Any]:
    try:
        head = json.loads(line)
    except ValueError:
        head = None
    if not isinstance(head, dict):
        raise ModelError('it is damaged')
    return head


def _difference(found: Any, key: EngineKey) -> str:
    """Return, in words, what an engine was built for instead."""
    if not isinstance(found, dict):
        return 'form of this package'
    wrong = [
        f'{name} ({found.get(name)}, now {value})'
        for name, value in asdict(key).items()
        if found.get(name) != value
    ]
    return ', '.join(wrong) or 'form of this package'


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ModelError(f'cannot read {path}: {error.strerror}; export the model anew') from error


def _as_file_name(text: str) -> str:
    return re.sub(r'[^A-Za-z0-9.]+', '_', text).strip('_')
