# SPDX-License-Identifier: Apache-2.0
"""Bench rows of the networks: DUNE small at 336x336 with made-up weights, engine by engine."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matching import tiled_matches
from side_by_side import Missing, Row, compare

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, RuntimeConfig
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.core.results import Output
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.models.folder import ModelFolder

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'support'))
from tiny_model import dune_small_model
from whole_graph import VIEWS, write_whole_graph

SHAPE = (336, 336)
ROUNDS = 5
NEEDED = ('torch', 'onnx', 'onnxscript', 'onnxruntime')
EAGER = 'PyTorch eager float32, tiled matching'
WEIGHTS = {'weights': 'made up'}


def rows() -> Iterator[Row | Missing]:
    """Measure one row after another."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        yield Missing('networks', 'DUNE small 336x336', f'needs {", ".join(missing)}')
        return
    print('  (writes a model folder of 1.4 GB under build/ once)', flush=True)
    path = dune_small_model(SHAPE)
    pair = made_up_pair(SHAPE[1], SHAPE[0])
    with _engine(path, 'onnxruntime') as ours:
        yield _stages_row(path, ours, pair)
        with _engine(path, 'pytorch') as eager:
            yield from _eager_rows(ours, eager, pair)


def _engine(path: Path, backend: str) -> Any:
    model = ModelConfig(path=path, shape=SHAPE, precision='fp32')
    return get_runtime(MASt3RRuntimeConfig(model=model, runtime=RuntimeConfig(backend=backend)))


def _stages_row(path: Path, engine: Any, pair: Any) -> Row:
    """Compare our stages, finished answers and all, with one graph that ends at the raw heads."""
    session = _whole_session(path)
    images = {name: image[None] for name, image in zip(VIEWS, pair, strict=True)}
    return compare(
        'networks',
        'DUNE small 336x336, stages, ONNX Runtime float32',
        lambda: engine.infer(*pair),
        lambda: session.run(None, images),
        other_name='one whole graph, raw',
        rounds=ROUNDS,
        goal=0.97,
        facts=WEIGHTS,
    )


def _whole_session(path: Path) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    graph = write_whole_graph(ModelFolder.open(path), SHAPE)
    return onnxruntime.InferenceSession(str(graph), options, ['CPUExecutionProvider'])


def _eager_rows(ours: Any, eager: Any, pair: Any) -> Iterator[Row]:
    jobs: dict[str, tuple[Output, bool]] = {
        'cloud and matches': (Output.CLOUD_1 | Output.CLOUD_2 | Output.DESC, True),
        'cloud of view 1 alone': (Output.CLOUD_1, False),
        'matches alone': (Output.DESC, True),
    }
    facts = {**WEIGHTS, **_errors(ours.infer(*pair), eager.infer(*pair))}
    for name, (outputs, matches) in jobs.items():
        yield compare(
            'networks',
            f'DUNE small 336x336, ONNX Runtime float32, {name}',
            _ours(ours, pair, outputs, matches),
            _official(eager, pair, matches),
            other_name=EAGER if matches else 'PyTorch eager float32, all outputs',
            rounds=3,
            facts=facts,
        )


def _ours(engine: Any, pair: Any, outputs: Output, matches: bool) -> Callable[[], object]:
    def run() -> object:
        result = engine.infer(*pair, outputs=outputs)
        return engine.match_result(result) if matches else result

    return run


def _official(engine: Any, pair: Any, matches: bool) -> Callable[[], object]:
    """Return what a user of the published code runs: everything, whatever is wanted."""

    def run() -> object:
        result = engine.infer(*pair)
        return tiled_matches(result.desc_1, result.desc_2) if matches else result

    return run


def _errors(ours: Any, reference: Any) -> dict[str, float]:
    cosine = np.einsum('ijk,ijk->ij', ours.desc_1, reference.desc_1)
    away = np.linalg.norm(ours.pts3d_1 - reference.pts3d_1, axis=2)
    distance = np.linalg.norm(reference.pts3d_1, axis=2)
    return {
        'descriptor_cosine_p01': float(np.percentile(cosine, 1)),
        'median_point_error': float(np.median(away / distance)),
    }
