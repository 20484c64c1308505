# SPDX-License-Identifier: Apache-2.0
"""Stages that OpenVINO compiled: made when first needed, run so that they can be cancelled."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.config import Precision
from mast3r_ros.engines.library_errors import last_line
from mast3r_ros.engines.openvino_engine.compiled_cache import CompiledCache
from mast3r_ros.errors import EngineCancelled, EngineFailed, ModelError
from mast3r_ros.models.description import DECODER, ENCODER

_log = logging.getLogger(__name__)

_CANCELLED = 'was canceled'  # how OpenVINO words it
_POINTS = 'points'

Values = Mapping[str, NDArray[Any]]


class CompiledStage:
    """One stage of one size.

    :param cache: where its compiled form is kept; None compiles it anew.
    """

    def __init__(
        self,
        core: Any,
        path: Path,
        properties: Mapping[str, Any],
        cache: CompiledCache | None = None,
    ) -> None:
        self._name = path.name

        def compiled_with(more: Mapping[str, Any]) -> Any:
            return core.compile_model(str(path), 'CPU', {**properties, **more})

        try:
            if cache is None:
                self._compiled = compiled_with({})
            else:
                self._compiled = cache.compile(path, properties, compiled_with)
            self._request = self._compiled.create_infer_request()
        except RuntimeError as error:
            raise ModelError(
                f'OpenVINO cannot load {path}: {last_line(error)}; copy the model anew or export '
                'it again'
            ) from error
        self._inputs = {port.get_any_name(): tuple(port.shape) for port in self._compiled.inputs}
        self._outputs = [port.get_any_name() for port in self._compiled.outputs]

    def run(self, values: Values, is_cancelled: Callable[[], bool]) -> dict[str, NDArray[Any]]:
        """Return the outputs; they are views of memory that the next run of the stage writes to.

        :param is_cancelled: asked once it runs: whoever cancels later cancels the running request.
        """
        inputs = {name: self._input(name, values) for name in self._inputs}
        try:
            self._request.start_async(inputs, share_inputs=True)
            if is_cancelled():
                self._request.cancel()
            self._request.wait()
            return {name: self._request.get_tensor(name).data for name in self._outputs}
        except RuntimeError as error:
            if _CANCELLED in str(error):
                raise EngineCancelled('OpenVINO was cancelled while it ran') from None
            raise EngineFailed(f'OpenVINO failed in {self._name}: {last_line(error)}') from error

    def cancel(self) -> None:
        """Make a running call raise within the layer that it is in; nothing if none runs."""
        self._request.cancel()

    def release_scratch(self) -> None:
        """Give the memory between layers back; what the last run returned stays."""
        self._compiled.release_memory()

    def _input(self, name: str, values: Values) -> NDArray[Any]:
        value, shape = values.get(name), self._inputs[name]
        if value is None or value.shape != shape:
            found = 'nothing' if value is None else f'{value.shape}'
            raise ModelError(
                f'{self._name} takes {name} {shape} and gets {found}: the stages of this model '
                'do not fit each other; export it anew'
            )
        return np.ascontiguousarray(value)


class CompiledStages:
    """The stages of a model that are loaded.

    They share one pool of threads, which belongs to the process.

    :param core: ``openvino.Core()``.
    :param rest: what the layers are computed in that a graph leaves in float32, float32 or
        bfloat16; what it has in eight bits stays in them.
    :param kept_sizes: of each stage; each holds its weights.
    :param cache: where compiled stages are kept, if they are.
    """

    def __init__(
        self,
        core: Any,
        rest: Precision,
        num_threads: int,
        kept_sizes: int = 2,
        cache: CompiledCache | None = None,
    ) -> None:
        self._core = core
        self._cache = cache
        self._kept_sizes = kept_sizes
        self._properties = {
            'PERFORMANCE_HINT': 'LATENCY',
            'NUM_STREAMS': 1,
            'INFERENCE_NUM_THREADS': num_threads,
            'ENABLE_CPU_PINNING': False,  # the robot has other work on these cores
            'INFERENCE_PRECISION_HINT': 'bf16' if rest is Precision.BF16 else 'f32',
        }
        self._loaded: dict[str, OrderedDict[Path, CompiledStage]] = {}
        self._running: CompiledStage | None = None
        self._lock = threading.Lock()

    def get(self, stage: str, path: Path) -> CompiledStage | None:
        """Return the compiled graph of a stage if it is loaded."""
        sizes = self._loaded.get(stage, OrderedDict())
        found = sizes.get(path)
        if found is not None:
            sizes.move_to_end(path)
        return found

    def load(self, stage: str, path: Path) -> CompiledStage:
        """Compile a stage's graph; the size of it that was used longest ago makes room."""
        sizes = self._loaded.setdefault(stage, OrderedDict())
        while len(sizes) >= self._kept_sizes:
            old, _ = sizes.popitem(last=False)
            _log.info('%s makes room for %s', old.name, path.name)
        sizes[path] = CompiledStage(self._core, path, self._properties, self._cache)
        return sizes[path]

    def run(
        self, stage: CompiledStage, values: Values, is_cancelled: Callable[[], bool]
    ) -> dict[str, NDArray[Any]]:
        """Run a stage; :meth:`cancel` ends it."""
        with self._lock:
            self._running = stage
        try:
            made = stage.run(values, is_cancelled)
        finally:
            with self._lock:
                self._running = None
        if not self._keeps_scratch(stage):
            stage.release_scratch()
        return made

    def _keeps_scratch(self, stage: CompiledStage) -> bool:
        """Return whether a stage keeps the memory between its layers while others run.

        Products need little and get it anew in no time. Convolutions over all pixels need so much
        that it takes a few percent of their time: one such stage keeps it, several do not.
        """
        points = [
            each
            for name, sizes in self._loaded.items()
            if name.startswith(_POINTS)
            for each in sizes.values()
        ]
        return points == [stage]

    def cancel(self) -> None:
        """End the stage that runs; callable from any thread."""
        with self._lock:
            if self._running is not None:
                self._running.cancel()

    def drop_heads(self) -> None:
        """Free every stage but encoders and decoders."""
        for stage in [name for name in self._loaded if name not in (ENCODER, DECODER)]:
            del self._loaded[stage]

    def close(self) -> None:
        """Free them all."""
        self._loaded.clear()
