# SPDX-License-Identifier: Apache-2.0
"""Pipelines on an oracle that can be held up, with all that they answer and say collected."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.oracle_engine import EXACT, OracleEngine
from support.scene import Scene, Shot, stereo_shots, walk

from mast3r_ros.config import MatchingConfig, ModelConfig, PipelineConfig
from mast3r_ros.core.engine import FeaturePair
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.pipeline import Pipeline
from mast3r_ros.core.products import PairResult
from mast3r_ros.core.results import InferenceResult, Output
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker

MS = 1_000_000
PATIENCE_S = 20.0
SCENE = Scene()
STEREO = PipelineConfig(matching=MatchingConfig(subsample=4))
SEQUENCE = PipelineConfig(matching=MatchingConfig(subsample=4), pairing={'mode': 'sequence'})


@cache
def rig() -> tuple[Shot, Shot]:
    return stereo_shots(SCENE, width=160, height=120)


@cache
def strolled() -> list[Shot]:
    return walk(SCENE, 6, width=96)


class GatedOracle(OracleEngine):
    """An oracle that can be held up, or told to fail."""

    def __init__(self, **options: Any) -> None:
        super().__init__(ModelConfig(resolution=112), **options)
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[Exception] = []

    def decode(self, pairs: Sequence[FeaturePair], outputs: Output) -> list[InferenceResult]:
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        if self.failures:
            raise self.failures.pop(0)
        return super().decode(pairs, outputs)


class Bench:
    """A worker with an oracle, and pipelines whose results are collected."""

    def __init__(self) -> None:
        self.engine = GatedOracle(errors=EXACT)
        self.engine.register_shots([*rig(), *strolled()])
        self.worker = EngineWorker(lambda: self.engine).start()
        self.results: list[PairResult] = []
        self.problems: list[tuple[ViewPair, Exception]] = []
        self.changed = threading.Condition()

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.engine.gate.set()
        self.worker.close(PATIENCE_S)

    def pipeline(self, config: PipelineConfig = STEREO, **options: Any) -> Pipeline:
        options.setdefault('on_result', self.keep)
        return Pipeline(self.worker, config, on_problem=self.note, **options)

    def keep(self, result: PairResult) -> None:
        with self.changed:
            self.results.append(result)
            self.changed.notify_all()

    def note(self, pair: ViewPair, error: Exception) -> None:
        with self.changed:
            self.problems.append((pair, error))
            self.changed.notify_all()

    def wait(self, results: int = 0, problems: int = 0) -> None:
        with self.changed:
            assert self.changed.wait_for(
                lambda: len(self.results) >= results and len(self.problems) >= problems,
                PATIENCE_S,
            )

    def settle(self) -> None:
        """Wait until the engine's thread has finished what it was doing."""
        self.worker.call(lambda engine: None, PATIENCE_S)


def stereo_views(stamp_ns: int = 0, mask: NDArray[np.bool_] | None = None) -> tuple[View, View]:
    left, right = rig()
    return left.view(mask=mask, stamp_ns=stamp_ns), right.view(stamp_ns=stamp_ns)


def add_stereo(
    pipeline: Pipeline, stamp_ns: int = 0, mask: NDArray[np.bool_] | None = None
) -> None:
    for source, view in zip(('left', 'right'), stereo_views(stamp_ns, mask), strict=True):
        pipeline.add(source, view)
