# SPDX-License-Identifier: Apache-2.0
"""What the tests of every engine that runs networks share: settings, pictures, counted stages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tiny_model import CACHE, GoldenCase

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, RuntimeConfig
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.results import InferenceResult, Output
from mast3r_ros.core.views import Grid, ImageArray
from mast3r_ros.engines.network_engine import NetworkEngine

EngineClass = Callable[[MASt3RRuntimeConfig], NetworkEngine]

KEPT = CACHE.parent / 'kept_outcomes'  # of checks: only the first run of the tests makes them
IMAGE_SIZE = (160, 120)  # of a picture that becomes 112x84 at resolution 112


def settings(folder: Path, threads: int = 0, **model: Any) -> MASt3RRuntimeConfig:
    """Return the settings that run a model folder."""
    if not {'shape', 'resolution'} & model.keys():
        model['resolution'] = 112
    return MASt3RRuntimeConfig(
        model=ModelConfig(path=folder, **model),
        runtime=RuntimeConfig(num_threads=threads, compiled_cache=False),
        cache_dir=KEPT,
    )


def pictures() -> tuple[ImageArray, ImageArray]:
    """Return a textured pair that the quick model takes."""
    return made_up_pair(*IMAGE_SIZE)


def golden_answer(
    engine: NetworkEngine, case: GoldenCase
) -> tuple[NDArray[np.float32], InferenceResult]:
    """Return the encoder's tokens of view 1 and the answer of a golden case."""
    grids = [Grid(case.arrays['view1']), Grid(case.arrays['view2'])]
    one, two = engine.encode(grids)
    tokens = np.asarray(engine.to_host(one.tokens), np.float32)[0]
    return tokens, engine.decode([(one, two, None)], Output.ALL)[0]


def relative_error(found: NDArray[Any] | None, wanted: NDArray[Any]) -> float:
    """Return the norm of the difference over the norm of what is wanted."""
    assert found is not None
    assert found.shape == wanted.shape
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


@contextmanager
def counted_stages(engine: NetworkEngine) -> Iterator[list[str]]:
    """Give the names of the stages that the engine runs, in order; they do run."""
    names: list[str] = []
    run = engine._run

    def counting(stage: str, *arguments: Any) -> Any:
        names.append(stage)
        return run(stage, *arguments)

    engine._run = counting  # type: ignore[method-assign]
    try:
        yield names
    finally:
        engine._run = run  # type: ignore[method-assign]
