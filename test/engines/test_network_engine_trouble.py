# SPDX-License-Identifier: Apache-2.0
"""Every engine that runs networks can be ended, and says what is wrong with a model's files."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from network_engines import EngineClass, pictures, settings
from tiny_model import quick_model

from mast3r_ros.core.results import Output
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.engines.network_engine import NetworkEngine
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
from mast3r_ros.engines.pytorch import PyTorchEngine
from mast3r_ros.errors import EngineCancelled, EngineFailed, InvalidInput, ModelError


@pytest.fixture(scope='module', params=[ProcessorEngine, PyTorchEngine])
def engine_class(request: pytest.FixtureRequest) -> EngineClass:
    return request.param


@pytest.fixture(scope='module')
def engine(engine_class: EngineClass) -> Iterator[NetworkEngine]:
    with engine_class(settings(quick_model())) as made:
        yield made


def test_a_call_between_stages_is_cancelled_from_another_thread(engine_class) -> None:
    with engine_class(settings(quick_model())) as made:
        one, two = made.encode([made.prepare(View(image)) for image in pictures()])
        run = made._run

        def cancelled_meanwhile(stage: str, *arguments: Any) -> Any:
            thread = threading.Thread(target=made.cancel)
            thread.start()
            thread.join()
            return run(stage, *arguments)

        made._run = cancelled_meanwhile
        with pytest.raises(EngineCancelled):
            made.decode([(one, two, None)], Output.ALL)
        made._run = run
        assert made.decode([(one, two, None)], Output.CLOUD_1)[0].pts3d_1 is not None


def test_a_cancel_between_the_calls_of_a_pair_ends_the_pair_and_not_the_next(engine) -> None:
    grids = [engine.prepare(View(image)) for image in pictures()]
    one, two = engine.encode(grids)
    engine.cancel()
    with pytest.raises(EngineCancelled):
        engine.decode([(one, two, None)], Output.CLOUD_1)
    engine.cancel()  # nothing runs
    assert engine.infer(*pictures(), outputs=Output.CLOUD_1).pts3d_1 is not None


def test_a_cancel_between_preparing_the_two_views_ends_the_pair(engine) -> None:
    view_1, view_2 = (View(image) for image in pictures())
    grid_1 = engine.prepare(view_1)
    engine.cancel()
    grid_2 = engine.prepare(view_2)
    with pytest.raises(EngineCancelled):
        engine.encode([grid_1, grid_2])
    assert len(engine.encode([grid_1, grid_2])) == 2  # it has done its work


def test_a_cancel_after_a_pair_that_failed_does_not_end_the_next(engine) -> None:
    with pytest.raises(InvalidInput):
        engine.infer(pictures()[0], np.zeros((120, 120, 3), np.uint8))
    engine.cancel()  # nothing runs
    assert engine.infer(*pictures(), outputs=Output.CLOUD_1).pts3d_1 is not None


def test_a_cancelled_load_leaves_no_cancel_behind(engine_class) -> None:
    with engine_class(settings(quick_model())) as made:
        one, two = made.encode([made.prepare(View(image)) for image in pictures()])
        load = made._load

        def cancelled_meanwhile(*_: Any) -> bool:
            made.cancel()
            raise EngineCancelled('loading was cancelled')

        made._load = cancelled_meanwhile
        with pytest.raises(EngineCancelled):
            made.decode([(one, two, None)], Output.CLOUD_1)
        made._load = load
        assert made.decode([(one, two, None)], Output.CLOUD_1)[0].pts3d_1 is not None


def test_stages_of_a_model_that_took_the_place_of_the_opened_one_are_not_run(
    engine_class, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(quick_model(), tmp_path / 'm'))
    with engine_class(settings(folder)) as made:
        made.infer(*pictures(), outputs=Output.CLOUD_1)
        folder.rename(tmp_path / 'old')
        shutil.copytree(quick_model(), folder)
        # What is loaded already is whole.
        made.infer(*pictures(), outputs=Output.CLOUD_1)
        for _ in range(2):
            with pytest.raises(ModelError, match='was replaced while it was in use; restart'):
                made.infer(*pictures(), outputs=Output.CLOUD_2)


def test_a_worker_that_closes_ends_a_running_pair(engine_class) -> None:
    worker = EngineWorker(lambda: engine_class(settings(quick_model()))).start()
    worker.wait_ready(120.0)
    failed: list[Exception] = []
    begun = threading.Event()

    images = pictures()

    def work(engine: NetworkEngine, _item: object, _waited_ms: float) -> None:
        one, two = engine.encode([engine.prepare(View(image)) for image in images])
        begun.set()
        while True:
            engine.decode([(one, two, None)], Output.ALL)

    box = worker.open_mailbox(work, lambda _item, error: failed.append(error))
    box.put('pair')
    assert begun.wait(120.0)
    assert worker.close(60.0)
    assert isinstance(failed[0], EngineFailed)


def test_a_damaged_graph_is_said_to_be_one(engine_class, tmp_path: Path) -> None:
    folder = _copy(quick_model(), tmp_path / 'm')
    (folder / '84x112_decoder.onnx').write_bytes(b'no graph')
    with pytest.raises(ModelError, match='84x112_decoder'):
        engine_class(settings(folder))


def test_a_graph_of_another_model_is_refused(engine_class, tmp_path: Path) -> None:
    folder = _copy(quick_model(), tmp_path / 'm')
    (folder / '84x112_points_1.onnx').write_bytes((folder / '84x112_encoder.onnx').read_bytes())
    chosen = settings(folder)
    with pytest.raises((ModelError, EngineFailed)):
        engine_class(chosen)
    unchecked = chosen.replace(runtime=chosen.runtime.replace(self_check=False))
    with engine_class(unchecked) as made, pytest.raises((ModelError, EngineFailed)):
        made.infer(*pictures(), outputs=Output.CLOUD_1)


def _copy(source: Path, target: Path) -> Path:
    """Copy a model's small files; the weights are the same file."""
    target.mkdir()
    for path in source.iterdir():
        if path.name == 'weights.data':
            (target / path.name).hardlink_to(path)
        else:
            (target / path.name).write_bytes(path.read_bytes())
    return target
