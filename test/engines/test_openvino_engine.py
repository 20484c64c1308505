# SPDX-License-Identifier: Apache-2.0
"""OpenVINO answers as the published networks do, says in which number format, and can end."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('openvino', reason='needs openvino')

import engine_memory
import onnx
import openvino
from network_engines import golden_answer, pictures, relative_error, settings
from slow_graph import SLOW_SHAPE, write_slow_graph
from tiny_model import CASES, golden_case, quick_model, tiny_model

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, Precision, RuntimeConfig
from mast3r_ros.core.results import Output
from mast3r_ros.core.views import View
from mast3r_ros.engines.openvino_engine.engine import OpenVinoEngine
from mast3r_ros.engines.openvino_engine.model_choice import choose_model
from mast3r_ros.engines.openvino_engine.stages import CompiledStage, CompiledStages
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.errors import EngineCancelled, EngineUnavailable, ModelError, ModelNotFound

LIMIT = 2e-5  # relative error in norm, float32
HAS_BF16 = 'BF16' in openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
needs_bf16 = pytest.mark.skipif(not HAS_BF16, reason='needs an accelerator for bfloat16')


def in_float32(folder: Path, **model: Any) -> MASt3RRuntimeConfig:
    """Return the settings that run a model folder as exactly as it was exported."""
    return settings(folder, precision='fp32', **model)


@pytest.mark.parametrize('name', CASES)
def test_in_float32_it_answers_as_the_published_network(name: str) -> None:
    case = golden_case(name)
    model = ModelConfig(path=tiny_model(name), precision='fp32')
    with OpenVinoEngine(MASt3RRuntimeConfig(model=model)) as engine:
        tokens, result = golden_answer(engine, case)
        assert engine.describe().precision == 'fp32'
        assert relative_error(tokens, case.arrays['feat_1']) <= LIMIT
        errors = {
            name: relative_error(getattr(result, name), wanted)
            for name, wanted in case.answers.items()
        }
        assert max(errors.values()) <= LIMIT, errors
        assert (Output.DESC in engine.provides) == ('desc_1' in errors)


@needs_bf16
@pytest.mark.parametrize('exported', [Precision.FP32, Precision.BF16])
def test_bfloat16_comes_near_whichever_way_the_model_was_exported(exported: Precision) -> None:
    whole = OpenVinoEngine(in_float32(quick_model())).infer(*pictures())
    config = settings(quick_model(precision=exported), precision='bf16')
    with OpenVinoEngine(config) as engine:
        half = engine.infer(*pictures())
        assert engine.describe().precision == 'bf16'
    for name in ('pts3d_1', 'desc_2'):
        error = relative_error(getattr(half, name), getattr(whole, name))
        assert 1e-5 < error < 5e-2


@needs_bf16
def test_auto_takes_bfloat16_where_the_processor_has_it() -> None:
    with OpenVinoEngine(settings(quick_model())) as engine:
        assert engine.describe().precision == 'bf16'


def test_without_bfloat16_in_the_processor_it_is_refused_and_auto_takes_float32() -> None:
    with pytest.raises(EngineUnavailable, match='this processor has no bfloat16'):
        choose_model(settings(quick_model(), precision='bf16'), has_bf16=False)
    _, precision = choose_model(settings(quick_model()), has_bf16=False)
    assert precision is Precision.FP32
    with pytest.raises(EngineUnavailable, match='the openvino engine runs int8, fp32 here'):
        choose_model(settings(quick_model(precision=Precision.BF16)), has_bf16=False)


def test_a_missing_bfloat16_model_is_asked_for_by_its_name(tmp_path: Path) -> None:
    model = ModelConfig(precision='bf16')
    with pytest.raises(ModelNotFound, match=r'mast3r-export .* --precision bf16'):
        choose_model(MASt3RRuntimeConfig(cache_dir=tmp_path, model=model), has_bf16=True)


def test_the_registry_runs_it_by_its_name_and_auto_prefers_it() -> None:
    for backend in ('openvino', 'auto'):
        runtime = RuntimeConfig(backend=backend, trial=False)
        config = settings(quick_model()).replace(runtime=runtime)
        with get_runtime(config) as engine:
            info = engine.describe()
            assert info.name == 'openvino'
            assert info.versions['openvino'] == openvino.__version__


def test_features_of_another_rounding_are_another_engine_s() -> None:
    exact = OpenVinoEngine(in_float32(quick_model()))
    with exact, OpenVinoEngine(settings(quick_model())) as other:
        assert (exact.key == other.key) == (not HAS_BF16)


def test_the_first_view_s_tokens_outlive_the_second_s() -> None:
    with OpenVinoEngine(in_float32(quick_model())) as engine:
        grids = [engine.prepare(View(image)) for image in pictures()]
        one, _ = engine.encode(grids)
        (alone,) = engine.encode(grids[:1])
        np.testing.assert_array_equal(one.tokens, alone.tokens)


def test_a_running_stage_is_cancelled_in_the_middle(tmp_path: Path) -> None:
    with OpenVinoEngine(in_float32(quick_model())) as engine:
        one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
        slow = engine._stages._loaded['decoder']
        path = next(iter(slow))
        fast = slow[path]
        compiled = engine._stages.load('slow', write_slow_graph(tmp_path / 'slow.onnx'))
        slow[path] = SlowStage(compiled)  # type: ignore[assignment]
        timer = threading.Timer(0.3, engine.cancel)
        timer.start()
        start = time.monotonic()
        with pytest.raises(EngineCancelled):
            engine.decode([(one, two, None)], Output.CLOUD_1)
        assert time.monotonic() - start < 60.0  # it would take minutes
        slow[path] = fast
        assert engine.infer(*pictures(), outputs=Output.CLOUD_1).pts3d_1 is not None


class SlowStage:
    """Takes a stage's place and runs the slow graph instead."""

    def __init__(self, stage: CompiledStage) -> None:
        self._stage = stage
        self.cancel = stage.cancel

    def run(self, _values: Any, is_cancelled: Any) -> Any:
        return self._stage.run({'x0': np.zeros(SLOW_SHAPE, np.float32)}, is_cancelled)


def test_a_cancel_right_before_a_stage_begins_is_not_lost(tmp_path: Path) -> None:
    stage = _stages().load('slow', write_slow_graph(tmp_path / 'slow.onnx'))
    start = time.monotonic()
    with pytest.raises(EngineCancelled):
        stage.run({'x0': np.zeros(SLOW_SHAPE, np.float32)}, lambda: True)
    assert time.monotonic() - start < 60.0


def test_only_two_sizes_of_a_stage_stay_loaded(tmp_path: Path) -> None:
    stages = _stages()
    encoder = quick_model() / '84x112_encoder.onnx'
    paths = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        shutil.copy(encoder, folder)
        shutil.copy(encoder.parent / 'weights.data', folder)
        paths.append(folder / encoder.name)
    for path in paths[:2]:
        stages.load('encoder', path)
    stages.get('encoder', paths[0])
    stages.load('encoder', paths[2])
    assert [stages.get('encoder', path) is not None for path in paths] == [True, False, True]


def test_missing_weights_and_damaged_graphs_are_errors_of_the_model(tmp_path: Path) -> None:
    graph = tmp_path / '84x112_encoder.onnx'
    shutil.copy(quick_model() / graph.name, graph)
    with pytest.raises(ModelError, match=r'OpenVINO cannot load .*84x112_encoder'):
        _stages().load('encoder', graph)
    graph.write_bytes(b'')
    with pytest.raises(ModelError, match=r'OpenVINO cannot load .*84x112_encoder'):
        _stages().load('encoder', graph)


def test_stages_that_do_not_fit_each_other_are_named(tmp_path: Path) -> None:
    stage = _stages().load('x', write_slow_graph(tmp_path / 's.onnx', count=1))
    with pytest.raises(ModelError, match=r's\.onnx takes x0 .* and gets nothing'):
        stage.run({}, bool)
    with pytest.raises(ModelError, match=r'gets \(2, 2\)'):
        stage.run({'x0': np.zeros((2, 2), np.float32)}, bool)


def test_an_operator_that_it_lacks_is_named(tmp_path: Path) -> None:
    path = write_slow_graph(tmp_path / 'odd.onnx', count=1)
    graph = onnx.load(path)
    graph.graph.node[0].op_type = 'Unheard'
    onnx.save(graph, path)
    with pytest.raises(ModelError, match=r'OpenVINO cannot load .*odd\.onnx: .*Unheard'):
        _stages().load('x', path)


@pytest.mark.skipif(not Path('/proc/self/smaps_rollup').exists(), reason='needs Linux')
def test_weights_are_in_memory_once_and_gone_when_it_is_closed() -> None:
    weights = (quick_model() / 'weights.data').stat().st_size
    command = [sys.executable, engine_memory.__file__, str(quick_model()), 'openvino']
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    held, left = map(int, said.split())
    assert held < 2.5 * weights  # the arena of a small model is as large as its weights
    assert left < 0.6 * weights


def _stages() -> CompiledStages:
    return CompiledStages(openvino.Core(), Precision.FP32, 2)
