# SPDX-License-Identifier: Apache-2.0
"""From a stage's graph to an engine: TensorRT tries out on the card which way is fastest."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mast3r_ros.config import Precision
from mast3r_ros.engines.tensorrt_engine.log import TensorRtLog
from mast3r_ros.errors import EngineCancelled, EngineFailed, EngineUnavailable

Tell = Callable[[float, str], None]
"""Is told how far the work is, from 0 to 1, and what is being done."""


@dataclass(frozen=True)
class BuildSettings:
    """How long and with how much memory TensorRT may look for the fastest way.

    :param level: 0 (takes the first that works) to 5 (compares the most).
    :param workspace_mb: most memory of a layer while it works; 0 for all that the card has.
    """

    level: int = 3
    workspace_mb: int = 0


class EngineBuilder:
    """Builds engines whose number formats are those of the graph.

    :param library: the module ``tensorrt``.
    :param precision: of the model; in fp32 products keep all 24 bits, else float32 layers may
        round their factors to TensorFloat-32, which has as many bits as float16.
    :param is_cancelled: asked at every step of a build.
    """

    def __init__(
        self,
        library: Any,
        log: TensorRtLog,
        precision: Precision,
        settings: BuildSettings,
        is_cancelled: Callable[[], bool] = lambda: False,
    ) -> None:
        self._library = library
        self._log = log
        self._exact = precision is Precision.FP32
        self._settings = settings
        self._is_cancelled = is_cancelled

    def build(self, graph: Path, timing: bytes, tell: Tell) -> tuple[bytes, bytes]:
        """Return the engine of a graph, and what was measured of it and earlier ones.

        :param timing: what earlier builds measured.
        :raises EngineUnavailable: TensorRT cannot run the graph here.
        :raises EngineCancelled: it was called off.
        """
        builder = self._library.Builder(self._log.listener)
        if builder is None:
            raise EngineUnavailable(self._log.explain('TensorRT cannot make a builder'))
        flags = 1 << self._library.NetworkDefinitionCreationFlag.STRONGLY_TYPED.value
        network = builder.create_network(flags)
        parser = self._library.OnnxParser(network, self._log.listener)
        if not parser.parse_from_file(str(graph)):
            raise EngineUnavailable(
                f'TensorRT {self._library.__version__} cannot read {graph.name}: '
                f'{_parser_errors(parser)}; update TensorRT or export another precision'
            )
        config = self._configured(builder, tell)
        cache = self._with_timing(config, timing)
        plan = builder.build_serialized_network(network, config)
        if self._is_cancelled():
            raise EngineCancelled(f'building the engine of {graph.name} was cancelled')
        if plan is None:
            raise EngineUnavailable(
                self._log.explain(f'TensorRT cannot build an engine of {graph.name}')
            )
        return bytes(plan), bytes(cache.serialize())

    def facts(self) -> dict[str, Any]:
        """Return how it builds, to be kept beside an engine."""
        return {**asdict(self._settings), 'tf32': not self._exact}

    def trtexec(self, graph: Path, target: Path, timing: Path) -> str:
        """Return the command of TensorRT's own program that builds and times the same."""
        words = [
            'trtexec',
            f'--onnx={graph}',
            f'--saveEngine={target}',
            '--stronglyTyped',
            f'--builderOptimizationLevel={self._settings.level}',
            f'--timingCacheFile={timing}',
        ]
        if self._settings.workspace_mb:
            words.append(f'--memPoolSize=workspace:{self._settings.workspace_mb}')
        if self._exact:
            words.append('--noTF32')
        return shlex.join([*words, '--useCudaGraph'])

    def _configured(self, builder: Any, tell: Tell) -> Any:
        config = builder.create_builder_config()
        config.builder_optimization_level = self._settings.level
        if self._settings.workspace_mb:
            pool = self._library.MemoryPoolType.WORKSPACE
            config.set_memory_pool_limit(pool, self._settings.workspace_mb << 20)
        tf32 = self._library.BuilderFlag.TF32
        if self._exact:
            config.clear_flag(tf32)
        else:
            config.set_flag(tf32)
        self._monitor = _monitor(self._library, tell, self._is_cancelled)  # outlives the build
        config.progress_monitor = self._monitor
        return config

    def _with_timing(self, config: Any, timing: bytes) -> Any:
        """Give a build what is known of this card; what is of another one is left out."""
        cache = config.create_timing_cache(timing)
        if cache is None or not config.set_timing_cache(cache, False):
            cache = config.create_timing_cache(b'')
            if cache is None or not config.set_timing_cache(cache, False):
                raise EngineFailed(self._log.explain('TensorRT takes no timing cache'))
        return cache


def _parser_errors(parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    said = [f'{error.node_name() or error.node_operator()}: {error.desc()}' for error in errors]
    return '; '.join(said) or 'it does not say why'


def _monitor(library: Any, tell: Tell, is_cancelled: Callable[[], bool]) -> Any:
    class Monitor(library.IProgressMonitor):  # type: ignore[misc]  # known once it is imported
        """Hears how far a build is and ends it when it is called off."""

        def __init__(self) -> None:
            library.IProgressMonitor.__init__(self)
            self._lock = threading.Lock()  # TensorRT tells from several threads
            self._steps: dict[str, int] = {}
            self._parents: dict[str, str | None] = {}
            self._done: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            """Note a phase; it may be a part of another one."""
            with self._lock:
                self._steps[phase_name] = max(num_steps, 1)
                self._parents[phase_name] = parent_phase
                self._done[phase_name] = 0

        def phase_finish(self, phase_name: str) -> None:
            """Forget a phase."""
            with self._lock:
                for known in (self._steps, self._parents, self._done):
                    known.pop(phase_name, None)

        def step_complete(self, phase_name: str, step: int) -> bool:
            """Tell of a step; False ends the build."""
            with self._lock:
                if phase_name in self._done:
                    self._done[phase_name] = step + 1
                fraction = self._fraction()
            tell(fraction, phase_name)
            return not is_cancelled()

        def _fraction(self) -> float:
            """Return how far the outermost phase is; inner ones are parts of its next step."""
            total = 0.0
            for name, steps in self._steps.items():
                share, parent = 1.0 / steps, self._parents[name]
                while parent in self._steps:
                    share /= self._steps[parent]
                    parent = self._parents[parent]
                total += share * self._done[name]
            return min(total, 1.0)

    return Monitor()
