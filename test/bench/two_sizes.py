# SPDX-License-Identifier: Apache-2.0
"""Bench rows of following a camera with a second, smaller size: its time and its memory."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from network_case import NEEDED
from side_by_side import Row, compare

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, RuntimeConfig
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.results import Output
from mast3r_ros.core.views import Grid, View
from mast3r_ros.engines.registry import get_runtime

GROUP = 'two_sizes'
NEEDS = NEEDED
NAME = 'DUNE small, 224x168'
LARGE, SMALL = (252, 336), (168, 224)  # height, width
IMAGE_SIZE = (640, 480)
ROUNDS = 7

# Engine, precision as the settings name it.
CASES = (('onnxruntime', 'fp32'), ('openvino', 'fp32'), ('openvino', 'bf16'), ('pytorch', 'fp32'))


def rows() -> Iterator[Row]:
    """Compare placing a frame on few pixels with doing it on all, the keyframe being encoded."""
    from full_size_model import full_size_model

    folder = full_size_model('dune_small', LARGE, smaller=SMALL)
    for backend, precision in CASES:
        one, two = (_memory(folder, backend, precision, size) for size in (None, SMALL))
        model = ModelConfig(path=folder, shape=LARGE, precision=precision, tracking_shape=SMALL)
        runtime = RuntimeConfig(backend=backend, compiled_cache=False)
        with get_runtime(MASt3RRuntimeConfig(model=model, runtime=runtime)) as engine:
            few, every = Output.CLOUD_1 | Output.DESC, Output.ALL
            yield compare(
                GROUP,
                f'{NAME}, {backend} {precision}',
                _placing(engine, engine.prepare_for_tracking, few),
                _placing(engine, engine.prepare, every),
                other_name='all of 336x252',
                rounds=ROUNDS,
                facts={'private_mb_of_one_size': one, 'private_mb_of_both': two},
            )


def _placing(
    engine: EngineInterface, prepare: Callable[[View], Grid], outputs: Output
) -> Callable[[], object]:
    """Return what a frame costs: one view to be encoded, its pair to be answered and matched."""
    frame, keyframe = (View(image) for image in made_up_pair(*IMAGE_SIZE))
    known = engine.encode([prepare(keyframe)])

    def place() -> object:
        (fresh,) = engine.encode([prepare(frame)])
        result = engine.decode([(fresh, known[0], None)], outputs)[0]
        return engine.match_result(result)

    return place


def _memory(folder: Path, backend: str, precision: str, smaller: tuple[int, int] | None) -> float:
    """Return the MB that an engine holds for itself, measured in a process of its own."""
    arguments = json.dumps([str(folder), backend, precision, LARGE, usable_cores(), smaller])
    program = str(Path(__file__).with_name('network_memory.py'))
    done = subprocess.run(
        [sys.executable, program, arguments], capture_output=True, text=True, check=True
    )
    return int(done.stdout.split()[-1]) / 1e6
