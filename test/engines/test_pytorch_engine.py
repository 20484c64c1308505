# SPDX-License-Identifier: Apache-2.0
"""PyTorch answers as the published networks do, with the weights of an exported model."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')

import torch
from network_engines import golden_answer, pictures, relative_error, settings
from tiny_model import CASES, golden_case, quick_model, tiny_model

from mast3r_ros.config import (
    BackendType,
    MASt3RRuntimeConfig,
    ModelConfig,
    Precision,
    RuntimeConfig,
)
from mast3r_ros.core.results import Output
from mast3r_ros.core.views import View
from mast3r_ros.engines import registry
from mast3r_ros.engines.pytorch import PyTorchEngine
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.errors import EngineCancelled, EngineUnavailable, ModelError

LIMIT = 1e-5  # relative error in norm


@pytest.mark.parametrize('name', CASES)
def test_it_answers_as_the_published_network(name: str) -> None:
    case = golden_case(name)
    with PyTorchEngine(MASt3RRuntimeConfig(model=ModelConfig(path=tiny_model(name)))) as engine:
        tokens, result = golden_answer(engine, case)
        assert relative_error(tokens, case.arrays['feat_1']) <= LIMIT
        errors = {
            name: relative_error(getattr(result, name), wanted)
            for name, wanted in case.answers.items()
        }
        assert max(errors.values()) <= LIMIT, errors


@pytest.mark.parametrize(('precision', 'limit'), [(Precision.FP16, 5e-3), (Precision.BF16, 5e-2)])
def test_half_precision_comes_near(precision: Precision, limit: float) -> None:
    whole = PyTorchEngine(settings(quick_model())).infer(*pictures())
    with PyTorchEngine(settings(quick_model(precision=precision))) as engine:
        half = engine.infer(*pictures())
        assert engine.describe().precision == precision.value
    for name in ('pts3d_1', 'desc_2'):
        error = relative_error(getattr(half, name), getattr(whole, name))
        assert 1e-6 < error < limit


def test_the_registry_runs_it_by_its_name() -> None:
    for backend in ('pytorch', 'python'):
        config = settings(quick_model()).replace(runtime=RuntimeConfig(backend=backend))
        with get_runtime(config) as engine:
            info = engine.describe()
            assert info.name == 'pytorch'
            assert info.versions['torch'] == torch.__version__


def test_auto_goes_on_to_the_engine_that_runs_the_precision_that_is_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip('onnxruntime', reason='needs onnxruntime')
    tried = (BackendType.ONNXRUNTIME, BackendType.PYTORCH)
    monkeypatch.setattr(registry, 'AUTO_ORDER', tried)
    half = quick_model(precision=Precision.BF16)
    place = tmp_path / 'models' / 'dune_vit_small' / 'bf16'
    place.parent.mkdir(parents=True)
    place.symlink_to(half)
    untried = RuntimeConfig(trial=False)
    for settled in (settings(half), MASt3RRuntimeConfig(cache_dir=tmp_path)):
        with get_runtime(settled.replace(runtime=untried)) as engine:
            assert (engine.describe().name, engine.describe().precision) == ('pytorch', 'bf16')


def test_on_the_processor_the_weights_are_the_file_s_own_pages() -> None:
    with PyTorchEngine(settings(quick_model())) as engine:
        engine.infer(*pictures())
        start = np.frombuffer(engine._weights, np.uint8).ctypes.data
        end = start + len(engine._weights)
        held = list(engine._on_device.values())
        assert held
        assert all(start <= weight.data_ptr() < end for weight in held)


def test_a_stage_is_cancelled_between_its_layers() -> None:
    with PyTorchEngine(settings(quick_model())) as engine:
        one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
        decoder = engine._stages['decoder', one.shape, two.shape].module
        reached = []

        def cancel(*_: object) -> None:
            reached.append(len(reached))
            thread = threading.Thread(target=engine.cancel)
            thread.start()
            thread.join()

        decoder.dec_blocks[1].register_forward_hook(cancel)
        last = []
        decoder.dec_blocks[3].register_forward_hook(lambda *_: last.append(1))
        with pytest.raises(EngineCancelled):
            engine.decode([(one, two, None)], Output.CLOUD_1)
        assert reached == [0]
        assert not last


def test_it_runs_with_cudnn_and_whole_floats() -> None:
    seen = []
    with PyTorchEngine(settings(quick_model())) as engine:

        def note(*_: object) -> None:
            seen.append((torch.backends.cudnn.enabled, torch.backends.cudnn.allow_tf32))

        for stage in engine._stages.values():
            stage.module.register_forward_hook(note)
        engine.infer(*pictures(), outputs=Output.CLOUD_1)
    assert set(seen) == {(True, False)}


def test_the_processor_can_be_chosen_where_there_is_a_card(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 1)
    config = settings(quick_model())
    with PyTorchEngine(config.replace(runtime=RuntimeConfig(device=-1))) as engine:
        assert engine.describe().device.startswith('cpu, ')
    with pytest.raises(EngineUnavailable, match=r'runtime\.device is 1 and PyTorch sees 1 card'):
        PyTorchEngine(config.replace(runtime=RuntimeConfig(device=1)))


def test_threads_are_set_in_the_thread_that_runs_it_alone() -> None:
    before = torch.get_num_threads()
    inside = []

    def work() -> None:
        with PyTorchEngine(settings(quick_model(), threads=1)) as engine:
            engine.infer(*pictures(), outputs=Output.CLOUD_1)
            inside.append(torch.get_num_threads())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert inside == [1]
    assert torch.get_num_threads() == before


def test_weights_that_end_too_early_are_refused(tmp_path: Path) -> None:
    source = quick_model()
    for path in source.iterdir():
        content = path.read_bytes()
        if path.name == 'weights.data':
            content = content[:1000]
        if path.name == 'model.json':
            values = json.loads(content)
            values['weights'] |= {'bytes': 1000, 'sample': ''}
            content = json.dumps(values).encode()
        (tmp_path / path.name).write_bytes(content)
    with pytest.raises(ModelError, match='behind the end of the weights'):
        PyTorchEngine(settings(tmp_path))
