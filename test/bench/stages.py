# SPDX-License-Identifier: Apache-2.0
"""A bench row of the stages that a network is cut into: against one graph of all of it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from network_case import NEEDED
from side_by_side import Row, compare

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, RuntimeConfig
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.models.folder import ModelFolder

GROUP = 'stages'
NEEDS = NEEDED
NAME = 'DUNE small 336x336, ONNX Runtime float32'
SHAPE = (336, 336)


def rows() -> Iterator[Row]:
    """Compare our stages, finished answers and all, with one graph that ends at the raw heads."""
    from full_size_model import full_size_model
    from whole_graph import VIEWS

    folder = full_size_model('dune_small', SHAPE)
    pair = made_up_pair(SHAPE[1], SHAPE[0])
    images = {name: image[None] for name, image in zip(VIEWS, pair, strict=True)}
    session = _whole_session(folder)
    model = ModelConfig(path=folder, shape=SHAPE, precision='fp32')
    runtime = RuntimeConfig(backend='onnxruntime', self_check=False)
    with get_runtime(MASt3RRuntimeConfig(model=model, runtime=runtime)) as engine:
        yield compare(
            GROUP,
            NAME,
            lambda: engine.infer(*pair),
            lambda: session.run(None, images),
            other_name='one whole graph, raw',
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
