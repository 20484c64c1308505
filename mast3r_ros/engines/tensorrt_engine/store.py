# SPDX-License-Identifier: Apache-2.0
"""Where engines come from: read where one is kept, built where none is, one process at a time."""

from __future__ import annotations

import fcntl
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mast3r_ros.engines.tensorrt_engine.builder import EngineBuilder, Tell
from mast3r_ros.engines.tensorrt_engine.engine_files import EngineFiles
from mast3r_ros.engines.tensorrt_engine.log import TensorRtLog
from mast3r_ros.errors import EngineCancelled, EngineUnavailable
from mast3r_ros.models.description import ENCODER, Shape
from mast3r_ros.models.folder import ModelFolder

_log = logging.getLogger(__name__)

_LOCK_PERIOD_S = 0.2

Wanted = tuple[str, Shape, Shape]
"""A stage and the shapes of the views; an encoder's are the same twice."""


def all_stages(model: ModelFolder, shapes: Sequence[Shape] | None = None) -> list[Wanted]:
    """Return every stage of a model.

    :param shapes: only of views of those shapes.
    """

    def chosen(*of_views: Shape) -> bool:
        return shapes is None or all(shape in shapes for shape in of_views)

    description = model.description
    found = [(ENCODER, shape, shape) for shape in model.encoder_shapes if chosen(shape)]
    pairs = [*((shape, shape) for shape in description.shapes), *description.pairs]
    found += [
        (stage, one, two)
        for one, two in pairs
        if chosen(one, two)
        for stage in description.stages
        if stage != ENCODER
    ]
    return found


class EngineStore:
    """Gives the engines of a model on one card.

    :param library: the module ``tensorrt``.
    """

    def __init__(
        self,
        library: Any,
        log: TensorRtLog,
        model: ModelFolder,
        files: EngineFiles,
        builder: EngineBuilder,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self.model = model
        self.files = files
        self._builder = builder
        self._is_cancelled = is_cancelled
        self._log = log
        self._runtime = library.Runtime(log.listener)

    def engine(self, stage: str, shape_1: Shape, shape_2: Shape) -> Any:
        """Return a stage's engine, ready to run; it is built where no file has it."""
        plan = self.files.read(stage, shape_1, shape_2)
        engine = self._load(plan) if plan is not None else None
        if engine is None:
            if plan is not None:
                path = self.files.path(stage, shape_1, shape_2)
                _log.warning(self._log.explain(f'{path} is built anew: TensorRT refuses it'))
            engine = self._load(self._build(stage, shape_1, shape_2, _ignore, plan is not None))
        if engine is None:
            raise EngineUnavailable(
                self._log.explain(f'TensorRT cannot load the engine of {stage} that it built')
            )
        return engine

    def missing(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Return those stages for which no usable file is there."""
        return [each for each in wanted if self.files.read(*each) is None]

    def forget(self, wanted: Sequence[Wanted]) -> None:
        """Remove the files of stages, so that they are built anew."""
        for each in wanted:
            self.files.path(*each).unlink(missing_ok=True)

    def build_missing(self, wanted: Sequence[Wanted], tell: Tell) -> list[Wanted]:
        """Build what is missing and return it; minutes for each where there is much to compare."""
        missing = self.missing(wanted)
        if missing:
            self.files.check_place()
        for index, each in enumerate(missing):
            name = self.files.path(*each).stem

            def tell_part(
                fraction: float, what: str, index: int = index, name: str = name
            ) -> None:
                tell((index + fraction) / len(missing), f'{name}: {what}')

            tell_part(0.0, 'reading the graph')
            self._build(*each, tell_part)
        return missing

    def commands(self, wanted: Sequence[Wanted]) -> list[str]:
        """Return what builds and times the same with TensorRT's own program."""
        return [
            self._builder.trtexec(
                self.model.stage_path(*each),
                self.files.path(*each).with_suffix('.plan'),
                self.files.timing_path,
            )
            for each in wanted
        ]

    def close(self) -> None:
        """Let go of TensorRT; its engines must be gone."""
        self._runtime = None

    def _load(self, plan: bytes) -> Any:
        return self._runtime.deserialize_cuda_engine(plan)

    def _build(
        self, stage: str, shape_1: Shape, shape_2: Shape, tell: Tell, anew: bool = False
    ) -> bytes:
        with self._alone():
            made = None if anew else self.files.read(stage, shape_1, shape_2)
            if made is not None:  # by another process, while this one waited
                return made
            start_s = time.monotonic()
            graph = self.model.stage_path(stage, shape_1, shape_2)
            plan, timing = self._builder.build(graph, self.files.read_timing(), tell)
            seconds = time.monotonic() - start_s
            _log.info('built the engine of %s in %.0f s', graph.name, seconds)
            facts = {**self._builder.facts(), 'seconds': round(seconds, 1)}
            self.files.write(stage, shape_1, shape_2, plan, facts)
            self.files.write_timing(timing)
        return plan

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the lock of the folder; the system releases it even from a killed process."""
        try:
            self.files.folder.mkdir(parents=True, exist_ok=True)
            lock = open(self.files.folder / '.lock', 'w')  # noqa: SIM115 - closed below
        except OSError:  # then nothing can be kept either, and that is said where it is tried
            yield
            return
        with lock:
            while not _locked(lock):
                if self._is_cancelled():
                    raise EngineCancelled('waiting for another build of engines was cancelled')
                time.sleep(_LOCK_PERIOD_S)
            yield


def _locked(lock: Any) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _ignore(_fraction: float, _what: str) -> None:
    """Hear of a build's progress and tell nobody."""
