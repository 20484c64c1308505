# SPDX-License-Identifier: Apache-2.0
"""Bench rows of the networks: DUNE small at 336x336 with made-up weights, engine by engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from network_rows import NetworkCase, missing_libraries, network_rows
from side_by_side import Missing, Row, compare

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, RuntimeConfig
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.models.folder import ModelFolder

SHAPE = (336, 336)
NAME = 'DUNE small 336x336'

# What bfloat16 and eight bits are to reach, on a processor that multiplies both by itself.
GOALS = {
    ('OpenVINO bf16', 'cloud and matches'): 6.0,
    ('OpenVINO bf16', 'matches alone'): 8.5,
    ('OpenVINO int8', 'cloud and matches'): 9.0,
    ('OpenVINO int8', 'matches alone'): 12.0,
}


def rows() -> Iterator[Row | Missing]:
    """Measure all engines in turn, then give one row after another."""
    missing = missing_libraries()
    if missing:
        yield Missing('networks', NAME, f'needs {", ".join(missing)}')
        return
    from tiny_model import dune_small_model

    print('  (writes model folders of 3 GB under build/ once)', flush=True)
    yield from network_rows(NetworkCase('networks', NAME, SHAPE, dune_small_model, GOALS))
    yield _stages_row(dune_small_model(SHAPE))


def _stages_row(path: Path) -> Row:
    """Compare our stages, finished answers and all, with one graph that ends at the raw heads."""
    from whole_graph import VIEWS

    pair = made_up_pair(SHAPE[1], SHAPE[0])
    images = {name: image[None] for name, image in zip(VIEWS, pair, strict=True)}
    session = _whole_session(path)
    model = ModelConfig(path=path, shape=SHAPE, precision='fp32')
    runtime = RuntimeConfig(backend='onnxruntime', self_check=False)
    with get_runtime(MASt3RRuntimeConfig(model=model, runtime=runtime)) as engine:
        return compare(
            'networks',
            f'{NAME}, stages, ONNX Runtime float32',
            lambda: engine.infer(*pair),
            lambda: session.run(None, images),
            other_name='one whole graph, raw',
            rounds=2,
            goal=0.97,
            facts={'weights': 'made up'},
        )


def _whole_session(path: Path) -> Any:
    import onnxruntime
    from whole_graph import write_whole_graph

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = usable_cores()
    options.add_session_config_entry('session.intra_op.allow_spinning', '0')
    graph = write_whole_graph(ModelFolder.open(path), SHAPE)
    return onnxruntime.InferenceSession(str(graph), options, ['CPUExecutionProvider'])
