# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine keeps to TensorRT's and CUDA's interfaces and rules, on a simulated card.

No card is needed: engines compute with ONNX Runtime on the simulated card's memory.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from network_engines import golden_answer, pictures, relative_error
from tensorrt_double import VERSIONS
from tensorrt_world import ACCESSES, World, simulated_world
from tiny_model import CASES, QUICK_SHAPE, golden_case, quick_model, tiny_model

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, Precision, RuntimeConfig
from mast3r_ros.core.results import Output
from mast3r_ros.core.views import View
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
from mast3r_ros.engines.registry import engine_status
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine
from mast3r_ros.errors import (
    EngineCancelled,
    EngineFailed,
    EngineUnavailable,
    InvalidInput,
    ModelError,
)

LIMIT = 2e-5  # relative error in norm
ALL_WORLDS = [(version, access) for version in VERSIONS for access in ACCESSES]


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Engines that are built once for all tests that do not look at the building."""
    return tmp_path_factory.mktemp('cache')


@pytest.fixture(params=ALL_WORLDS, ids='-'.join)
def world(request: pytest.FixtureRequest, cache: Path) -> Iterator[World]:
    version, access = request.param
    with simulated_world(cache, version, access) as made:
        yield made
        assert made.card.left() == {}


@pytest.fixture
def new_world(tmp_path: Path) -> Iterator[World]:
    with simulated_world(tmp_path) as made:
        yield made
        assert made.card.left() == {}


# Backwards: tests of another engine that run beside these export from the other end.
@pytest.mark.parametrize('name', CASES[::-1])
def test_it_answers_as_the_published_network(name: str, cache: Path) -> None:
    case = golden_case(name)
    config = MASt3RRuntimeConfig(model=ModelConfig(path=tiny_model(name)), cache_dir=cache)
    with simulated_world(cache) as world:
        with TensorRtEngine(config) as engine:
            for _ in range(3):  # queued call by call, captured, launched
                tokens, result = golden_answer(engine, case)
                assert relative_error(tokens, case.arrays['feat_1']) <= LIMIT
                errors = {
                    name: relative_error(getattr(result, name), wanted)
                    for name, wanted in case.answers.items()
                }
                assert max(errors.values()) <= LIMIT, errors
            assert world.card.launches > 0
            del result
        assert world.card.left() == {}


def test_it_works_with_every_version_and_access_through_a_whole_life(world: World) -> None:
    with ProcessorEngine(world.settings(quick_model())) as other:
        wanted = other.infer(*pictures())
    with TensorRtEngine(world.settings(quick_model())) as engine:
        for _ in range(4):
            result = engine.infer(*pictures())
            assert relative_error(result.pts3d_2, wanted.pts3d_2) < 1e-6
            assert relative_error(result.desc_1, wanted.desc_1) < 1e-6
        assert 'not yet run on hardware' in engine.describe().versions['state']
        assert 'Simulated Orin' in engine.describe().device
    assert world.card.left() == {}


def test_features_of_another_engine_are_refused(cache: Path) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as first,
        TensorRtEngine(world.settings(quick_model())) as second,
    ):
        one, two = first.encode([first.prepare(View(image)) for image in pictures()])
        with pytest.raises(InvalidInput, match='the features belong to the engine'):
            second.decode([(one, two, None)], Output.CLOUD_1)


def test_features_outlive_their_engine_without_harm(cache: Path) -> None:
    with simulated_world(cache) as world:
        with TensorRtEngine(world.settings(quick_model())) as engine:
            one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
        with pytest.raises(EngineFailed, match='closed'):
            engine.decode([(one, two, None)], Output.CLOUD_1)
        with pytest.raises(EngineFailed, match='given back'):
            one.global_descriptor()
        one.release()
        del two
        gc.collect()
        engine.close()  # a second time
        assert world.card.left() == {}


def test_released_features_cannot_be_used(cache: Path) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
    ):
        one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
        one.release()
        with pytest.raises(EngineFailed, match='released'):
            engine.decode([(one, two, None)], Output.CLOUD_1)
        assert engine.infer(*pictures(), outputs=Output.CLOUD_1).pts3d_1 is not None


@pytest.mark.parametrize('access', ACCESSES)
def test_a_card_that_hangs_is_waited_for_no_longer_than_until_the_cancel(
    access: str, cache: Path
) -> None:
    with (
        simulated_world(cache, access=access) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
    ):
        wanted = engine.infer(*pictures())
        world.card.is_stuck = True
        timer = threading.Timer(0.2, engine.cancel)
        timer.start()
        with pytest.raises(EngineCancelled):
            engine.infer(*pictures())
        world.card.is_stuck = False
        again = engine.infer(*pictures())
        assert again.pts3d_1.tobytes() == wanted.pts3d_1.tobytes()
    assert world.card.left() == {}


def test_a_run_that_fails_is_told_with_what_tensorrt_said(world: World) -> None:
    with TensorRtEngine(world.settings(quick_model())) as engine:
        world.tensorrt.breaks.add('execute_async_v3')
        with pytest.raises(EngineFailed, match='failed in encoder: execute_async_v3 was told'):
            engine.infer(*pictures())
        world.tensorrt.breaks.clear()
        assert engine.infer(*pictures()).pts3d_1 is not None


def test_an_error_that_lasts_is_told_and_does_not_keep_it_from_closing(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with simulated_world(cache) as world:
        with TensorRtEngine(world.settings(quick_model())) as engine:
            world.card.is_broken = True
            for _ in range(2):
                with pytest.raises(
                    EngineFailed, match=r'cuda\w+ of CUDA failed: .*IllegalAddress'
                ):
                    engine.infer(*pictures())
        assert 'did not take all memory back' in caplog.text


def test_too_little_memory_is_told_and_nothing_is_left(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaError
    from mast3r_ros.engines.tensorrt_engine.cuda_python import CudaPython

    def refuse(self: CudaPython, nbytes: int) -> int:
        return int(self._call('cudaMalloc', 1 << 50))

    with simulated_world(cache) as world:
        monkeypatch.setattr(CudaPython, 'allocate', refuse)
        with pytest.raises(CudaError, match=r'cudaMalloc of CUDA failed: .*MemoryAllocation'):
            TensorRtEngine(world.settings(quick_model()))
        assert world.card.left() == {}


def test_it_may_be_used_from_another_thread_than_the_one_that_built_it(cache: Path) -> None:
    with (
        simulated_world(cache, access='pycuda') as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
    ):
        results: list[Any] = []
        thread = threading.Thread(target=lambda: results.append(engine.infer(*pictures())))
        thread.start()
        thread.join()
        assert len(results) == 1


def test_half_floats_stay_half_on_the_card(cache: Path) -> None:
    model = quick_model(precision=Precision.FP16)
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(model)) as engine,
        ProcessorEngine(world.settings(model)) as other,
    ):
        one, _ = engine.encode([engine.prepare(View(image)) for image in pictures()])
        assert one.nbytes == 48 * 32 * 2
        found, wanted = engine.infer(*pictures()), other.infer(*pictures())
        assert relative_error(found.desc_1, wanted.desc_1) < 1e-3


def test_the_processor_asked_for_by_the_device_is_no_card(new_world: World) -> None:
    config = new_world.settings(quick_model()).replace(runtime=RuntimeConfig(device=-1))
    with pytest.raises(EngineUnavailable, match=r'runtime\.device is -1, which asks for the proc'):
        TensorRtEngine(config)
    config = config.replace(runtime=RuntimeConfig(device=3))
    with pytest.raises(EngineUnavailable, match='CUDA sees 1 card, the first is 0'):
        TensorRtEngine(config)


def test_an_old_tensorrt_is_refused_by_its_version(new_world: World) -> None:
    new_world.tensorrt.module.__version__ = '8.6.2'  # type: ignore[attr-defined]
    with pytest.raises(EngineUnavailable, match=r'TensorRT is 8\.6\.2 and 10\.3 or newer'):
        TensorRtEngine(new_world.settings(quick_model()))


def test_a_card_without_bfloat16_takes_no_such_model(tmp_path: Path) -> None:
    with simulated_world(tmp_path, capability=(7, 5)) as world:
        with pytest.raises(EngineUnavailable, match='is bf16, and the tensorrt engine runs fp16'):
            TensorRtEngine(world.settings(quick_model(precision=Precision.BF16)))
        assert world.card.left() == {}


def test_without_tensorrt_it_says_what_to_install() -> None:
    if engine_status('tensorrt').available:  # type: ignore[arg-type]
        pytest.skip('needs a machine without TensorRT')
    with pytest.raises(EngineUnavailable, match=r'on a Jetson it comes with JetPack'):
        TensorRtEngine()


def test_stages_of_two_exports_are_refused(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
    ):
        engine.infer(*pictures(), outputs=Output.CLOUD_1)
        size = engine._stages().get('decoder', QUICK_SHAPE, QUICK_SHAPE)
        assert size is not None
        place = size.tensor('hook_1_3')
        object.__setattr__(place.port, 'shape', (1, 47, 32))
        with pytest.raises(ModelError, match='do not fit each other; export it anew'):
            engine.infer(*pictures())
