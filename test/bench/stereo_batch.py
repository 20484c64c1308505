# SPDX-License-Identifier: Apache-2.0
"""Bench rows of the encoder: both views of a stereo pair at once, or one after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from network_case import NEEDED
from numpy.typing import NDArray
from side_by_side import Row, compare

from mast3r_ros.config import Precision
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cores import usable_cores

GROUP = 'stereo_batch'
NEEDS = NEEDED
NAME = 'encoder of DUNE small 336x336'
SHAPE = (336, 336)
ROUNDS = 11

Run = Callable[[NDArray[np.uint8]], object]


def rows() -> Iterator[Row]:
    """Time a batch of two against two runs, on the engines of the processor."""
    from full_size_model import full_size_model

    folder = full_size_model('dune_small', SHAPE)
    single = folder / f'{SHAPE[0]}x{SHAPE[1]}_encoder.onnx'
    double = _of_two(single)
    pair = np.stack(made_up_pair(SHAPE[1], SHAPE[0]))
    for engine, make in (
        ('ONNX Runtime fp32', _onnxruntime),
        ('OpenVINO fp32', partial(_openvino, Precision.FP32)),
        ('OpenVINO bf16', partial(_openvino, Precision.BF16)),
    ):
        one, two = make(single), make(double)
        at_once, in_turn = partial(two, pair), partial(_in_turn, one, pair)
        spent = _processor_ms(in_turn) / _processor_ms(at_once)  # a busy machine hardly moves it
        yield compare(
            GROUP,
            f'{NAME}, a batch of two, {engine}',
            at_once,
            in_turn,
            other_name='one after the other',
            rounds=ROUNDS,
            facts={'processor_time_ratio': spent},
        )


def _processor_ms(job: Callable[[], object]) -> float:
    """Return the time that all threads of this process spend on a job, in the median."""
    job()
    spent = []
    for _ in range(ROUNDS):
        start = time.process_time()
        job()
        spent.append(time.process_time() - start)
    return statistics.median(spent) * 1e3


def _in_turn(run: Run, pair: NDArray[np.uint8]) -> None:
    for image in pair:
        run(image[None])


def _onnxruntime(path: Path) -> Run:
    import onnxruntime

    from mast3r_ros.engines.onnxruntime_engine.providers import processor
    from mast3r_ros.engines.onnxruntime_engine.sessions import Sessions

    session = Sessions(onnxruntime, processor(), usable_cores()).load('encoder', path)

    def run(images: NDArray[np.uint8]) -> object:
        value = onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(images))
        return session.run({'image': value}, onnxruntime.RunOptions())

    return run


def _openvino(precision: Precision, path: Path) -> Run:
    import openvino

    from mast3r_ros.engines.openvino_engine.stages import CompiledStages

    stages = CompiledStages(openvino.Core(), precision, usable_cores())
    stage = stages.load('encoder', path)

    def run(images: NDArray[np.uint8]) -> object:
        made = stages.run(stage, {'image': np.ascontiguousarray(images)}, lambda: False)
        return {name: np.array(value) for name, value in made.items()}

    return run


def _of_two(path: Path) -> Path:
    """Write an encoder that takes two pictures beside one that takes one; return it."""
    import onnx
    from onnx.external_data_helper import load_external_data_for_tensor

    model = onnx.load(str(path), load_external_data=False)
    graph: Any = model.graph
    shapes = {node.input[1] for node in graph.node if node.op_type in ('Reshape', 'Expand')}
    joined = {name for node in graph.node if node.op_type == 'Concat' for name in node.input}
    for item in graph.initializer:
        if item.name in joined and item.external_data:
            load_external_data_for_tensor(item, str(path.parent))
        if item.name not in shapes | joined:
            continue
        values = onnx.numpy_helper.to_array(item).copy()
        if item.name in joined:
            values = np.repeat(values, 2, axis=0)
        elif values.size > 1 and values[0] == 1:
            values[0] = 2
        item.CopyFrom(onnx.numpy_helper.from_array(values, item.name))
    for port in (*graph.input, *graph.output):
        port.type.tensor_type.shape.dim[0].dim_value = 2
    del graph.value_info[:]
    target = path.with_name(f'{path.stem}_of_two.onnx')
    onnx.save(model, str(target))
    return target
