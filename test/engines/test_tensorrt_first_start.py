# SPDX-License-Identifier: Apache-2.0
"""While TensorRT builds, the fallback that the user named serves, and then makes room."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from network_engines import pictures
from tensorrt_world import World, simulated_world
from tiny_model import quick_model

from mast3r_ros.config import MASt3RRuntimeConfig, RuntimeConfig
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.engines.registry import get_runtime_soon
from mast3r_ros.engines.stand_in import BackgroundBuild
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine

PATIENCE_S = 60.0


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    presence = 'mast3r_ros.engines.tensorrt_engine.presence.card_obstacle'
    monkeypatch.setattr(presence, lambda _devices: '')
    with simulated_world(tmp_path, access='pycuda') as made:
        yield made
        assert made.card.left() == {}


def config(world: World, fallback: str = 'geometric') -> MASt3RRuntimeConfig:
    runtime = RuntimeConfig(backend='tensorrt', fallback=fallback)
    return world.settings(quick_model()).replace(runtime=runtime)


def name_of(engine: EngineInterface) -> str:
    return engine.describe().name


def holding(world: World) -> threading.Event:
    """Make every build wait until the event is set."""
    release, fails = threading.Event(), world.tensorrt.fails

    def wait(call: str, listener: Any) -> bool:
        if call == 'build_serialized_network':
            assert release.wait(PATIENCE_S)
        return fails(call, listener)

    world.tensorrt.fails = wait  # type: ignore[method-assign]
    return release


def test_the_fallback_serves_until_the_engines_are_built_and_then_makes_room(world: World) -> None:
    release = holding(world)
    with EngineWorker(lambda: get_runtime_soon(config(world))) as worker:
        assert worker.call(name_of, PATIENCE_S) == 'geometric'
        assert worker.instead_of is not None
        assert 'TensorRT builds its engines for this card (0%' in worker.instead_of
        successor = worker.call(lambda engine: engine.successor)
        assert isinstance(successor, BackgroundBuild)
        release.set()
        successor.thread.join(PATIENCE_S)
        assert worker.call(name_of, PATIENCE_S) == 'tensorrt'
        assert worker.instead_of is None
        result = worker.call(lambda engine: engine.infer(*pictures()), PATIENCE_S)
        assert result.pts3d_1 is not None


def test_engines_that_are_there_are_taken_at_once(world: World) -> None:
    TensorRtEngine(config(world)).close()
    with get_runtime_soon(config(world)) as engine:
        assert name_of(engine) == 'tensorrt'


def test_without_a_named_fallback_the_start_waits(world: World) -> None:
    with get_runtime_soon(config(world, 'none')) as engine:
        assert name_of(engine) == 'tensorrt'


def test_a_build_that_fails_leaves_the_fallback_and_says_why(world: World) -> None:
    world.tensorrt.breaks.add('build_serialized_network')
    with EngineWorker(lambda: get_runtime_soon(config(world))) as worker:
        successor = worker.call(lambda engine: engine.successor, PATIENCE_S)
        assert isinstance(successor, BackgroundBuild)
        successor.thread.join(PATIENCE_S)
        assert worker.call(name_of) == 'geometric'
        assert worker.instead_of is not None
        assert 'build_serialized_network was told to fail' in worker.instead_of


def test_closing_stops_the_build(world: World) -> None:
    release = holding(world)
    worker = EngineWorker(lambda: get_runtime_soon(config(world))).start()
    successor = worker.call(lambda engine: engine.successor, PATIENCE_S)
    assert isinstance(successor, BackgroundBuild)
    worker.close()
    release.set()
    successor.thread.join(PATIENCE_S)
    assert world.engine_files() == []


def test_an_engine_that_is_ready_too_late_is_closed() -> None:
    closed = threading.Event()
    begin = threading.Event()

    class Late(EngineInterface):
        prepare = encode = decode = describe = None  # type: ignore[assignment]

        def close(self) -> None:
            closed.set()

    def make(_tell: object, _is_stopped: Callable[[], bool]) -> EngineInterface:
        assert begin.wait(PATIENCE_S)
        return Late()

    build = BackgroundBuild(Late(), 'it', make)
    build.stop()
    assert not closed.is_set()
    begin.set()
    build.thread.join(PATIENCE_S)
    assert closed.is_set()
    assert build.take() is None
