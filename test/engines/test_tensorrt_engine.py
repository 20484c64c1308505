# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine keeps to TensorRT's and CUDA's interfaces and rules, on a simulated card.

No card is needed: engines compute with ONNX Runtime on the simulated card's memory.
"""

from __future__ import annotations

import ast
import gc
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from cuda_double import FACTS, SimulatedCard, Violation
from network_engines import counted_stages, golden_answer, pictures, relative_error
from tensorrt_double import VERSIONS, Double
from tensorrt_world import ACCESSES, World, simulated_world
from tiny_model import CASES, QUICK_SHAPE, golden_case, quick_model, tiny_model

import mast3r_ros.engines.tensorrt_engine as engine_folder
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
PORTRAIT = QUICK_SHAPE[::-1]
MIXED = [(QUICK_SHAPE, QUICK_SHAPE), (PORTRAIT, PORTRAIT), (QUICK_SHAPE, PORTRAIT)]
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


@pytest.mark.parametrize('name', CASES)
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


def test_it_uses_nothing_that_one_of_the_versions_lacks(tmp_path: Path) -> None:
    """The same calls, of the same classes, with both; each was held against its signature."""
    used = []
    for version in VERSIONS:
        with simulated_world(tmp_path / version, version) as world:
            with TensorRtEngine(world.settings(quick_model())) as engine:
                engine.infer(*pictures())
            used.append(world.tensorrt.used)
    assert used[0] == used[1]
    assert len(used[0]) > 30
    for version in VERSIONS:
        facts = json.loads((FACTS / f'tensorrt_{version}.json').read_text(encoding='utf-8'))
        assert all(member in facts[owner] for owner, member in used[0])


@pytest.mark.parametrize('version', VERSIONS)
def test_every_name_of_tensorrt_in_the_sources_is_part_of_its_interface(version: str) -> None:
    """Also on ways that no test goes."""
    facts = json.loads((FACTS / f'tensorrt_{version}.json').read_text(encoding='utf-8'))
    names = set()
    for path in Path(engine_folder.__path__[0]).glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Attribute):
                words = ast.unparse(node).removeprefix('self._').split('.')
                if words[0] == 'library' and len(words) > 1 and not words[1].startswith('_'):
                    names.add('.'.join(words[1:]))
    assert {'Runtime', 'BuilderFlag.TF32', 'TensorIOMode.INPUT'} <= names
    for name in names:
        owner, _, rest = name.partition('.')
        assert owner in facts, name
        member = rest.partition('.')[0]
        assert not member or member in facts[owner], name


def test_the_stand_in_refuses_what_the_interface_lacks() -> None:
    """Or none of the tests here would say anything."""
    double = Double('11.4', SimulatedCard())
    with pytest.raises(Violation, match='BuilderFlag has no FP16'):
        _ = double.module.BuilderFlag.FP16
    with pytest.raises(Violation, match='fits none of'):
        double.check('IExecutionContext', 'execute_async_v3', (1, 2), {})
    with pytest.raises(Violation, match='fits none of'):
        double.check('IExecutionContext', 'set_tensor_address', ('image', 'there'), {})
    with pytest.raises(Violation, match='is no method'):
        double.check('IExecutionContext', 'execute_v2_fast', (), {})
    config = double.hold('IBuilderConfig', object())
    with pytest.raises(Violation, match='cannot be set'):
        config.num_optimization_profiles = 2


def test_the_functions_of_cuda_are_those_of_the_installed_cuda_python() -> None:
    runtime = pytest.importorskip('cuda.bindings.runtime', reason='needs an NVIDIA GPU machine')
    facts = json.loads((FACTS / 'cuda_runtime.json').read_text(encoding='utf-8'))
    for name, arguments in facts.items():
        head = getattr(runtime, name).__doc__.partition('\n')[0]
        inner = head[head.index('(') + 1 : head.rindex(')')]
        found = [part.split(':')[0].split()[-1] for part in inner.split(',') if part.strip()]
        assert found == arguments, name


def test_every_call_of_cuda_in_the_sources_is_among_the_checked_ones() -> None:
    facts = json.loads((FACTS / 'cuda_runtime.json').read_text(encoding='utf-8'))
    path = Path(engine_folder.__path__[0]) / 'cuda_python.py'
    words: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value)
    # Flags and kinds of errors are named by attribute too; of functions none may be unknown.
    called = {word for word in words if word.startswith('cuda') and word.isidentifier()}
    others = {'cuda', 'cudaError_t', 'cudaMemcpyKind', 'cudaStreamCaptureMode'}
    others |= {word for word in called if word.startswith(('cudaMemcpy', 'cudaError'))}
    others |= {'cudaStreamNonBlocking', 'cudaEventDisableTiming', 'cudaSuccess'}
    others |= {'cudaStreamCaptureModeThreadLocal'}
    assert called - (others - facts.keys()) == facts.keys()


@pytest.mark.parametrize(
    ('outputs', 'heads'),
    [
        (Output.CLOUD_1, ['points_1']),
        (Output.DESC, ['descriptors_1', 'descriptors_2']),
        (Output.ALL, ['points_1', 'descriptors_1', 'points_2', 'descriptors_2']),
    ],
)
def test_only_what_is_asked_for_is_loaded_and_run(
    outputs: Output, heads: list[str], cache: Path
) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
        counted_stages(engine) as ran,
    ):
        engine.infer(*pictures(), outputs=outputs)
        assert ran == ['encoder', 'encoder', 'decoder', *heads]
        loaded = [name for size in engine._stages()._sizes.values() for name in size.stages]
        assert loaded == ['encoder', 'decoder', *heads]


def test_the_whole_pair_is_queued_before_anything_is_waited_for(cache: Path) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
    ):
        engine.infer(*pictures())
        one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
        world.card.wait()
        asked, ask = [], world.card.ask

        def asking(mark: Any) -> bool:
            asked.append(len(world.card.queue))
            return ask(mark)

        world.card.ask = asking  # type: ignore[method-assign]
        engine.decode([(one, two, None)], Output.ALL)
        # Two copies in, the decoder, and for each of four heads itself, a copy out, a mark.
        assert asked[0] == 2 + 1 + 4 * 3


def test_a_sequence_keeps_its_features_on_the_card_and_takes_no_more_memory(cache: Path) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
    ):
        grids = [engine.prepare(View(image)) for image in pictures()]
        (last,) = engine.encode(grids[:1])
        held = []
        with counted_stages(engine) as ran:
            for number in range(12):
                (new,) = engine.encode([grids[number % 2]])
                engine.decode([(new, last, None)], Output.CLOUD_1)
                last.release()
                last = new
                held.append(world.card.held_bytes())
        assert ran.count('encoder') == 12
        assert len(set(held[2:])) == 1
        assert last.nbytes == 48 * 32 * 4  # tokens of 84x112 with patches of 14
        allocations = world.card.allocations
        np.testing.assert_allclose(np.linalg.norm(last.global_descriptor()), 1.0, atol=1e-6)
        assert world.card.allocations == allocations


def test_pairs_of_unlike_sizes_share_the_card_and_make_room(tmp_path: Path) -> None:
    with simulated_world(tmp_path) as world:
        model = quick_model(MIXED)
        with (
            TensorRtEngine(world.settings(model)) as engine,
            ProcessorEngine(world.settings(model)) as other,
        ):
            wide, tall = pictures()[0], np.ascontiguousarray(pictures()[1].transpose(1, 0, 2))
            for pair in ((wide, wide), (wide, tall), (tall, tall), (wide, wide), (tall, tall)):
                found, wanted = engine.infer(*pair), other.infer(*pair)
                assert relative_error(found.pts3d_2, wanted.pts3d_2) < 1e-6
                assert relative_error(found.desc_1, wanted.desc_1) < 1e-6
            sizes = engine._stages()._sizes
            assert len([key for key in sizes if not key[0]]) == 2
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
        with pytest.raises(
            EngineFailed, match=r'failed in (en|de)coder: execute_async_v3 was told'
        ):
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


def test_a_graph_that_cannot_be_captured_is_run_call_by_call(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
    ):
        wanted = engine.infer(*pictures())
        world.card.end_capture = _refuse_graph(world.card)  # type: ignore[method-assign]
        for _ in range(2):
            found = engine.infer(*pictures())
            assert found.desc_2.tobytes() == wanted.desc_2.tobytes()
    assert 'is run call by call, not as a graph' in caplog.text
    assert world.card.left() == {}


def _refuse_graph(card: SimulatedCard) -> Any:
    from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaError

    def refuse() -> Any:
        card.captured = None
        raise CudaError('no graph today')

    return refuse


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
