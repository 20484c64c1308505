# SPDX-License-Identifier: Apache-2.0
"""What a sequence costs an engine that runs networks: each frame is encoded once, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')
pytest.importorskip('scipy', reason='needs scipy')

from network_engines import IMAGE_SIZE, counted_stages, settings
from tensorrt_world import simulated_world
from tiny_model import QUICK_SHAPE, quick_model

from mast3r_ros.config import MASt3RRuntimeConfig, NodeConfig, PairingConfig
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.pipeline import Pipeline
from mast3r_ros.core.products import Product
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.engines.network_engine import NetworkEngine
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
from mast3r_ros.engines.openvino_engine.engine import OpenVinoEngine
from mast3r_ros.engines.pytorch import PyTorchEngine
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine
from mast3r_ros.sequence.answers import EngineAnswers
from mast3r_ros.sequence.follower import Follower
from mast3r_ros.sequence.frames import SequenceFrame
from mast3r_ros.sequence.run import SequenceRun
from mast3r_ros.sequence.run_folder import RunFolder
from mast3r_ros.sequence_config import SequenceConfig

FRAMES = 4
WIDTH, HEIGHT = IMAGE_SIZE
CAMERA = Camera.pinhole(WIDTH, HEIGHT, 120.0, 120.0, (WIDTH - 1) / 2, (HEIGHT - 1) / 2)
EACH_FRAME = SequenceConfig(still_px=0.0)
PATIENCE_S = 30.0

Make = Callable[[MASt3RRuntimeConfig], NetworkEngine]

ENGINES = [
    ProcessorEngine,
    PyTorchEngine,
    TensorRtEngine,
    pytest.param(
        OpenVinoEngine,
        marks=pytest.mark.skipif(find_spec('openvino') is None, reason='needs openvino'),
    ),
]


@pytest.fixture(params=ENGINES)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    if request.param is TensorRtEngine:
        with simulated_world(tmp_path):
            yield lambda config: TensorRtEngine(config.replace(cache_dir=tmp_path))
    else:
        yield request.param


def views(count: int = FRAMES) -> list[View]:
    texture = np.random.default_rng(3).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    return [
        View(np.roll(texture, 4 * n, axis=1), CAMERA, stamp_ns=n * 10**8) for n in range(count)
    ]


@contextmanager
def counted(make: Make, config: MASt3RRuntimeConfig) -> Iterator[tuple[EngineWorker, list[str]]]:
    """Give a worker, and the names of the stages that its engine runs."""
    engine = make(config)
    memory_mb = config.runtime.features_memory_mb
    with (
        EngineWorker(lambda: engine, features_memory_mb=memory_mb) as worker,
        counted_stages(engine) as ran,
    ):
        worker.wait_ready()
        yield worker, ran


def node_settings(**runtime: int) -> NodeConfig:
    config = settings(quick_model(), threads=1)
    return NodeConfig(
        model=config.model,
        runtime=config.runtime.replace(**runtime),
        pairing=PairingConfig(mode='sequence'),
        sequence=EACH_FRAME,
    )


def show(worker: EngineWorker, config: NodeConfig, *, publishes: bool, follows: bool) -> int:
    """Have frames answered as a node does; return how many were followed."""
    followed = threading.Semaphore(0)
    answered = threading.Semaphore(0)
    pipeline = Pipeline(worker, config, on_result=lambda result: answered.release())
    follower = Follower(
        worker,
        config,
        config.sequence,
        posed=pipeline.posed,
        on_frame=lambda found, view: followed.release(),
        on_problem=lambda pair, error: pytest.fail(str(error)),
    )
    for view in views():
        pairs = pipeline.pair_up('image', view)
        if publishes:
            pipeline.submit(pairs)
            assert not pairs or answered.acquire(timeout=PATIENCE_S)
        if follows:
            follower.add(pairs)
            assert not pairs or followed.acquire(timeout=PATIENCE_S)
    return follower.now.frames


def test_a_node_that_publishes_and_follows_has_each_frame_encoded_once(make: Make) -> None:
    config = node_settings()
    with counted(make, config) as (worker, ran):
        followed = show(worker, config, publishes=True, follows=True)
        assert ran.count('encoder') == FRAMES
        assert followed == FRAMES - 1  # the first one has no partner


@pytest.mark.parametrize('publishes', [True, False])
def test_a_node_that_does_one_of_the_two_as_well(publishes: bool) -> None:
    config = node_settings()
    with counted(ProcessorEngine, config) as (worker, ran):
        show(worker, config, publishes=publishes, follows=not publishes)
        assert ran.count('encoder') == (FRAMES if publishes else FRAMES - 1)


def test_a_reconstruction_has_each_frame_encoded_once(make: Make, tmp_path: Path) -> None:
    class Source:
        total = FRAMES

        def frames(self) -> Iterator[SequenceFrame]:
            return (SequenceFrame(view) for view in views())

    config = node_settings()
    with counted(make, config) as (worker, ran):
        run = SequenceRun(worker, config)
        run.run(Source(), RunFolder(tmp_path / 'run'), 'rolled pictures')
        assert ran.count('encoder') == FRAMES


def test_without_memory_for_features_every_pair_encodes_both_of_its_views() -> None:
    config = node_settings(features_memory_mb=0)
    with counted(ProcessorEngine, config) as (worker, ran):
        show(worker, config, publishes=True, follows=False)
        assert ran.count('encoder') == 2 * (FRAMES - 1)


def test_a_calibration_that_comes_later_costs_no_encoding_and_puts_the_grid_right() -> None:
    config = node_settings()
    with counted(ProcessorEngine, config) as (worker, ran):
        one, two = (View(view.image) for view in views(2))
        found = []
        for pair in ((one, two), (one.with_camera(CAMERA), two.with_camera(CAMERA))):
            result = EngineAnswers(worker, config).pair(*pair, Product.CLOUD_1)
            found.append(result.cloud_1.grid.camera)
        assert ran.count('encoder') == 2
        assert found[0] is None or found[0].fx != pytest.approx(found[1].fx, rel=1e-3)
        assert found[1].fx == pytest.approx(CAMERA.fx * QUICK_SHAPE[1] / WIDTH)
