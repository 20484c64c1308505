# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime answers as the published networks do, never falls back in silence, and can end."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

import engine_memory
import onnx
import onnxruntime
from network_engines import golden_answer, pictures, relative_error, settings
from tiny_model import CASES, golden_case, quick_model, tiny_model

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, RuntimeConfig
from mast3r_ros.core.results import Output
from mast3r_ros.core.views import View
from mast3r_ros.engines.onnxruntime_engine.engine import CudaEngine, ProcessorEngine
from mast3r_ros.engines.onnxruntime_engine.presence import cuda_obstacle
from mast3r_ros.engines.onnxruntime_engine.providers import as_argument, cuda, processor, tensorrt
from mast3r_ros.engines.onnxruntime_engine.sessions import Sessions
from mast3r_ros.engines.onnxruntime_engine.stage_session import StageSession
from mast3r_ros.engines.registry import engine_status, get_runtime
from mast3r_ros.errors import (
    EngineCancelled,
    EngineFailed,
    EngineUnavailable,
    ModelError,
    ModelNotFound,
)

LIMIT = 2e-5  # relative error in norm
HAS_CUDA = 'CUDAExecutionProvider' in onnxruntime.get_available_providers()


@pytest.mark.parametrize('name', CASES)
def test_it_answers_as_the_published_network(name: str) -> None:
    case = golden_case(name)
    with ProcessorEngine(MASt3RRuntimeConfig(model=ModelConfig(path=tiny_model(name)))) as engine:
        tokens, result = golden_answer(engine, case)
        assert relative_error(tokens, case.arrays['feat_1']) <= LIMIT
        errors = {
            name: relative_error(getattr(result, name), wanted)
            for name, wanted in case.answers.items()
        }
        assert max(errors.values()) <= LIMIT, errors
        assert (Output.DESC in engine.provides) == ('desc_1' in errors)


def test_the_registry_runs_it_by_its_names() -> None:
    for backend in ('onnxruntime', 'cpu'):
        config = settings(quick_model()).replace(runtime=RuntimeConfig(backend=backend))
        with get_runtime(config) as engine:
            info = engine.describe()
            assert info.name == 'onnxruntime'
            assert info.versions['onnxruntime'] == onnxruntime.__version__


def test_without_a_model_auto_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match='mast3r-download') as caught:
        get_runtime(MASt3RRuntimeConfig(cache_dir=tmp_path))
    assert 'mast3r-export --variant dune_vit_small --size 336x252' in str(caught.value)


def test_a_model_at_its_default_place_is_found(tmp_path: Path) -> None:
    place = tmp_path / 'models' / 'dune_vit_small' / 'fp32'
    place.parent.mkdir(parents=True)
    place.symlink_to(quick_model())
    config = MASt3RRuntimeConfig(cache_dir=tmp_path, model=ModelConfig(resolution=112))
    with get_runtime(config) as engine:
        assert engine.infer(*pictures(), outputs=Output.CLOUD_1).pts3d_1 is not None


@pytest.mark.skipif(HAS_CUDA, reason='needs a build of onnxruntime without a CUDA device')
def test_cuda_without_a_build_that_has_it_is_refused_and_says_why() -> None:
    status = engine_status('cuda')
    assert not status.available
    assert 'onnxruntime is built without CUDA' in status.reason
    with pytest.raises(EngineUnavailable, match=r'has no CUDAExecutionProvider, only .*CPU'):
        CudaEngine(settings(quick_model()))
    config = settings(quick_model()).replace(runtime=RuntimeConfig(backend='cuda'))
    with pytest.raises(EngineUnavailable, match='uninstall it and pip install'):
        get_runtime(config)


def test_a_machine_without_a_card_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / 'site' / 'onnxruntime'
    (package / 'capi').mkdir(parents=True)
    (package / '__init__.py').touch()
    (package / 'capi' / 'libonnxruntime_providers_cuda.so').touch()
    (tmp_path / 'dev').mkdir()
    monkeypatch.setattr('sys.path', [str(tmp_path / 'site')])
    monkeypatch.delitem(__import__('sys').modules, 'onnxruntime')
    assert 'no NVIDIA card' in cuda_obstacle(tmp_path / 'dev')
    (tmp_path / 'dev' / 'nvidia0').touch()
    assert cuda_obstacle(tmp_path / 'dev') == ''


@pytest.mark.skipif(HAS_CUDA, reason='needs a build of onnxruntime without a CUDA device')
def test_tensorrt_inside_onnxruntime_is_refused_where_the_build_lacks_it(tmp_path: Path) -> None:
    config = settings(quick_model()).replace(
        runtime=RuntimeConfig(backend='cuda', card_provider='tensorrt'), cache_dir=tmp_path
    )
    with pytest.raises(EngineUnavailable, match='has no TensorrtExecutionProvider, only'):
        CudaEngine(config)


def test_tensorrt_leaves_what_it_cannot_do_to_cuda_alone_and_keeps_its_engines(
    tmp_path: Path,
) -> None:
    provider = tensorrt(1, tmp_path).for_weights('ab' * 32)
    (first, options), (second, _) = as_argument(provider)
    assert (first, second) == ('TensorrtExecutionProvider', 'CUDAExecutionProvider')
    assert options['device_id'] == '1'
    assert Path(options['trt_engine_cache_path']).is_relative_to(tmp_path)
    assert options['trt_fp16_enable'] == '0'  # the graph's number format is the one that runs
    assert not provider.is_processor
    with pytest.raises(EngineUnavailable, match='did not take TensorrtExecutionProvider'):
        provider.check_active(['CUDAExecutionProvider'])


def test_engines_that_tensorrt_built_are_kept_apart_by_the_weights_they_hold(
    tmp_path: Path,
) -> None:
    names = ('trt_engine_cache_path', 'trt_timing_cache_path')
    places = set()
    for digest in ('ab' * 32, 'cd' * 32, 'ab' * 32, '../../elsewhere'):
        options = tensorrt(0, tmp_path / 'new').for_weights(digest).options
        assert options[names[0]] == options[names[1]]
        places.add(Path(options[names[0]]))
    assert len(places) == 3
    assert set((tmp_path / 'new' / 'engines' / 'onnxruntime').iterdir()) == places
    (tmp_path / 'file').touch()
    with pytest.raises(EngineUnavailable, match=r'cannot be made: .*; choose another cache_dir'):
        tensorrt(0, tmp_path / 'file').for_weights('ab' * 32)
    assert cuda(0).for_weights('ab' * 32) == cuda(0)


@pytest.mark.filterwarnings('ignore:Specified provider')
def test_a_provider_that_fails_is_not_swapped_for_another_in_silence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    broken = replace(cuda(0), name='NoSuchExecutionProvider')
    with pytest.raises(EngineUnavailable, match=r'cannot use NoSuch.*Unknown Provider Type'):
        Sessions(onnxruntime, broken, 1).load('encoder', quick_model() / '84x112_encoder.onnx')
    assert 'EP Error' not in capsys.readouterr().out


def test_the_processor_asked_for_by_the_device_is_no_card() -> None:
    with pytest.raises(EngineUnavailable, match=r'runtime\.device is -1, which asks for the proc'):
        CudaEngine(settings(quick_model()).replace(runtime=RuntimeConfig(device=-1)))


def test_a_provider_that_a_session_did_not_take_is_an_error() -> None:
    with pytest.raises(EngineUnavailable, match='did not take CUDAExecutionProvider'):
        cuda(0).check_active(['CPUExecutionProvider'])


def test_a_device_must_run_a_graph_whole() -> None:
    options = Sessions(onnxruntime, cuda(0), 1)._options()
    assert options.get_session_config_entry('session.disable_cpu_ep_fallback') == '1'


def test_idle_sessions_do_not_spin() -> None:
    options = Sessions(onnxruntime, processor(), 3)._options()
    assert options.get_session_config_entry('session.intra_op.allow_spinning') == '0'
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (3, 1)


@pytest.mark.skipif(not Path('/proc/self/smaps_rollup').exists(), reason='needs Linux')
def test_weights_are_in_memory_once_and_gone_when_it_is_closed() -> None:
    weights = (quick_model() / 'weights.data').stat().st_size
    command = [sys.executable, engine_memory.__file__, str(quick_model())]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    held, left = map(int, said.split())
    assert 0.7 * weights < held < 1.8 * weights  # twice, with the arena, would be 2.2
    assert left < 0.4 * weights  # the arena stays for the next engine


def slow_graph(path: Path) -> Path:
    """Write a graph that multiplies for minutes."""
    helper = onnx.helper
    size, count = 2048, 400
    nodes = [helper.make_node('MatMul', [f'x{i}', 'x0'], [f'x{i + 1}']) for i in range(count)]
    ports = [
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [size, size])
        for name in ('x0', f'x{count}')
    ]
    graph = helper.make_graph(nodes, 'slow', ports[:1], ports[1:])
    opset = [helper.make_opsetid('', 18)]
    path.write_bytes(
        helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    )
    return path


def test_a_running_stage_is_cancelled_in_the_middle(tmp_path: Path) -> None:
    with ProcessorEngine(settings(quick_model())) as engine:
        one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
        slow = engine._sessions._loaded['decoder']
        path = next(iter(slow))
        slow[path] = SlowStage(engine._sessions.load('slow', slow_graph(tmp_path / 'slow.onnx')))
        timer = threading.Timer(0.3, engine.cancel)
        timer.start()
        start = time.monotonic()
        with pytest.raises(EngineCancelled):
            engine.decode([(one, two, None)], Output.CLOUD_1)
        assert time.monotonic() - start < 60.0  # it would take minutes


class SlowStage:
    """Takes a stage's place and runs the slow graph instead."""

    def __init__(self, session: StageSession) -> None:
        self._session = session

    def run(self, _values: Any, options: Any) -> Any:
        value = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((2048, 2048), np.float32))
        return self._session.run({'x0': value}, options)


def test_only_two_sizes_of_a_stage_stay_loaded(tmp_path: Path) -> None:
    sessions = Sessions(onnxruntime, processor(), 1)
    encoder = quick_model() / '84x112_encoder.onnx'
    paths = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(encoder, folder)
        (folder / 'weights.data').hardlink_to(encoder.parent / 'weights.data')
        paths.append(folder / encoder.name)
    for path in paths[:2]:
        sessions.load('encoder', path)
    sessions.get('encoder', paths[0])
    sessions.load('encoder', paths[2])
    assert [sessions.get('encoder', path) is not None for path in paths] == [True, False, True]


def test_a_graph_of_a_newer_onnx_asks_for_a_newer_onnxruntime(tmp_path: Path) -> None:
    graph = onnx.load(slow_graph(tmp_path / 'new.onnx'))
    graph.ir_version = 99
    onnx.save(graph, tmp_path / 'new.onnx')
    with pytest.raises(EngineUnavailable, match=r'is too old for new\.onnx'):
        Sessions(onnxruntime, processor(), 1).load('x', tmp_path / 'new.onnx')
    graph.ir_version = 10
    graph.opset_import[0].version = 99
    onnx.save(graph, tmp_path / 'new.onnx')
    with pytest.raises(EngineUnavailable, match=r'is too old for new\.onnx'):
        Sessions(onnxruntime, processor(), 1).load('x', tmp_path / 'new.onnx')


def test_an_operator_that_it_lacks_is_named(tmp_path: Path) -> None:
    graph = onnx.load(slow_graph(tmp_path / 'odd.onnx'))
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.BFLOAT16
    onnx.save(graph, tmp_path / 'odd.onnx')
    with pytest.raises(EngineUnavailable, match=r'cannot run odd\.onnx: .*MatMul'):
        Sessions(onnxruntime, processor(), 1).load('x', tmp_path / 'odd.onnx')


def test_missing_weights_are_an_error_of_the_model(tmp_path: Path) -> None:
    shutil.copy(quick_model() / '84x112_encoder.onnx', tmp_path)
    with pytest.raises(ModelError, match=r'cannot load .*84x112_encoder'):
        Sessions(onnxruntime, processor(), 1).load('encoder', tmp_path / '84x112_encoder.onnx')


def test_stages_that_do_not_fit_each_other_are_named(tmp_path: Path) -> None:
    session = Sessions(onnxruntime, processor(), 1).load('x', slow_graph(tmp_path / 's.onnx'))
    with pytest.raises(ModelError, match=r's\.onnx takes x0 \(2048, 2048\) and gets nothing'):
        session.run({}, onnxruntime.RunOptions())
    wrong = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((2, 2), np.float32))
    with pytest.raises(ModelError, match=r'gets \(2, 2\)'):
        session.run({'x0': wrong}, onnxruntime.RunOptions())


def test_a_failing_run_is_an_engine_s_failure(tmp_path: Path) -> None:
    session = Sessions(onnxruntime, processor(), 1).load('x', slow_graph(tmp_path / 's.onnx'))
    wrong = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((2048, 2048), np.float64))
    with pytest.raises(EngineFailed, match=r'ONNX Runtime failed in s\.onnx'):
        session.run({'x0': wrong}, onnxruntime.RunOptions())
