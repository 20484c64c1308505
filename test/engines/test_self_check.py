# SPDX-License-Identifier: Apache-2.0
"""An engine that computes nonsense is refused with the figures; rounding alone never is."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')
pytest.importorskip('openvino', reason='needs openvino')

from network_engines import pictures, settings
from tensorrt_world import simulated_world
from tiny_model import quick_model

from mast3r_ros.config import MASt3RRuntimeConfig, Precision
from mast3r_ros.core.results import Output
from mast3r_ros.engines.network_engine import NetworkEngine
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
from mast3r_ros.engines.openvino_engine.engine import OpenVinoEngine
from mast3r_ros.engines.pytorch import PyTorchEngine
from mast3r_ros.engines.self_check import Difference, faults
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine
from mast3r_ros.errors import EngineUnavailable, ModelError
from mast3r_ros.models.check import Check


@pytest.mark.parametrize(
    ('engine_class', 'precision'),
    [
        (ProcessorEngine, Precision.FP32),
        (ProcessorEngine, Precision.FP16),
        (ProcessorEngine, Precision.INT8),
        (PyTorchEngine, Precision.FP32),
        (PyTorchEngine, Precision.BF16),
    ],
)
def test_rounding_alone_passes(engine_class: Any, precision: Precision) -> None:
    with engine_class(settings(quick_model(precision=precision))) as engine:
        found = engine.self_check()
    assert found.keys() >= {'pts3d_1', 'pts3d_2', 'desc_1', 'desc_2', 'conf_1', 'desc_conf_2'}
    assert faults(found, precision) == []


EVERY = [ProcessorEngine, PyTorchEngine, OpenVinoEngine]


def config(folder: Path, cache: Path, self_check: bool = True) -> MASt3RRuntimeConfig:
    chosen = settings(folder).replace(cache_dir=cache)
    return chosen.replace(runtime=chosen.runtime.replace(self_check=self_check))


def spoil(patch: pytest.MonkeyPatch, engine_class: Any) -> None:
    """Have an engine answer something else."""
    to_host = engine_class.to_host
    patch.setattr(engine_class, 'to_host', lambda *given: np.flip(to_host(*given), 1).copy())


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that any engine runs."""
    names: list[str] = []
    stage = NetworkEngine._stage

    def noting(engine: NetworkEngine, name: str, *rest: Any) -> Any:
        names.append(name)
        return stage(engine, name, *rest)

    monkeypatch.setattr(NetworkEngine, '_stage', noting)
    return names


@pytest.mark.parametrize('engine_class', EVERY)
def test_only_the_first_load_of_a_model_on_a_machine_pays_for_the_check(
    engine_class: Any, tmp_path: Path, ran: list[str]
) -> None:
    engine_class(config(quick_model(), tmp_path)).close()
    assert len(ran) == 7  # two encoders, the decoder, four heads
    (kept,) = (tmp_path / 'checks').iterdir()
    facts = json.loads(kept.read_text())
    assert facts['passed'] is True
    assert facts['differences']['pts3d_1']['p95'] < 0.5
    ran.clear()
    with engine_class(config(quick_model(), tmp_path)) as engine:
        assert ran == []
        assert engine.infer(*pictures()).pts3d_1 is not None
    assert len(list((tmp_path / 'checks').iterdir())) == 1


@pytest.mark.parametrize('engine_class', [ProcessorEngine, OpenVinoEngine])
def test_an_engine_that_answers_something_else_is_refused_and_that_is_not_kept(
    engine_class: Any, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, engine_class)
        with pytest.raises(EngineUnavailable, match='wrongly: it differs from float32 in'):
            engine_class(config(quick_model(), tmp_path))
        assert not (tmp_path / 'checks').exists()
        engine_class(config(quick_model(), tmp_path, self_check=False)).close()
    engine_class(config(quick_model(), tmp_path)).close()
    assert (tmp_path / 'checks').exists()


@pytest.mark.parametrize('content', ['[', '{"passed": "yes"}'])
def test_a_damaged_record_is_made_anew(content: str, tmp_path: Path, ran: list[str]) -> None:
    ProcessorEngine(config(quick_model(), tmp_path)).close()
    (kept,) = (tmp_path / 'checks').iterdir()
    before = kept.read_text()
    kept.write_text(content)
    ran.clear()
    ProcessorEngine(config(quick_model(), tmp_path)).close()
    assert len(ran) == 7
    assert kept.read_text() == before


def test_what_answers_depend_on_is_checked_anew_when_it_changes(
    tmp_path: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(shutil.copytree(quick_model(), tmp_path / 'model'))
    ProcessorEngine(config(folder, tmp_path)).close()
    changes = [
        lambda: monkeypatch.setattr('onnxruntime.__version__', '0.1'),
        lambda: monkeypatch.setattr(
            'mast3r_ros.engines.self_check.machine_facts', lambda: ['another processor']
        ),
        lambda: (folder / 'check.npz').write_bytes((folder / 'check.npz').read_bytes() + b' '),
    ]
    for number, change in enumerate(changes, 2):
        change()
        ran.clear()
        ProcessorEngine(config(folder, tmp_path)).close()
        assert len(ran) == 7
        assert len(list((tmp_path / 'checks').iterdir())) == number


def test_a_cache_that_cannot_be_written_only_costs_time(tmp_path: Path, ran: list[str]) -> None:
    (tmp_path / 'checks').write_text('a file')
    for number in (1, 2):
        ProcessorEngine(config(quick_model(), tmp_path)).close()
        assert len(ran) == 7 * number


def test_a_model_in_a_shorter_format_is_held_to_the_limits_of_that_format(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """OpenVINO runs float32 models in bfloat16 too, which differs by more than float32 may."""
    with ProcessorEngine(settings(quick_model())) as engine:
        info = replace(engine.describe(), precision='bf16')
        to_host = engine.to_host
        engine.to_host = lambda value: 1.004 * to_host(value)  # type: ignore[method-assign]
        with pytest.raises(EngineUnavailable, match='are allowed in fp32'):
            engine.self_check()
        engine.describe = lambda: info  # type: ignore[method-assign]
        assert engine.self_check()['pts3d_1'].p50 > 1e-3


def test_on_a_card_every_load_is_checked(tmp_path: Path) -> None:
    with simulated_world(tmp_path) as world:
        TensorRtEngine(world.settings(quick_model())).close()
        world.tensorrt.spoil['points_1'] = 0.5
        with pytest.raises(EngineUnavailable, match='pts3d_1 by'):
            TensorRtEngine(world.settings(quick_model()))


def test_a_captured_graph_that_answers_the_pair_before_is_refused_at_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with simulated_world(tmp_path) as world:
        launched = []
        monkeypatch.setattr(world.card, 'launch', lambda *graph: launched.append(graph))
        with pytest.raises(EngineUnavailable, match='it has the answer of the one before'):
            TensorRtEngine(world.settings(quick_model()))
        assert launched


@pytest.mark.parametrize('head', ['points_1', 'points_2', 'descriptors_1', 'descriptors_2'])
def test_a_head_that_computes_nonsense_is_refused_at_load(head: str, tmp_path: Path) -> None:
    with simulated_world(tmp_path) as world:
        world.tensorrt.spoil[head] = 0.5
        with pytest.raises(EngineUnavailable) as caught:
            TensorRtEngine(world.settings(quick_model()))
        sentence = str(caught.value)
        wrong = head.replace('points', 'pts3d').replace('descriptors', 'desc')
        assert f'{wrong} by ' in sentence
        assert '(0.1 % and 1 % are allowed in fp32)' in sentence
        assert 'Simulated Orin' in sentence
        assert world.card.left() == {}


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_kernel_that_overflows_is_refused_at_load(value: float, tmp_path: Path) -> None:
    with simulated_world(tmp_path) as world:
        world.tensorrt.spoil['hook_1_3'] = value
        with pytest.raises(EngineUnavailable, match='wrongly: it differs from float32 in'):
            TensorRtEngine(world.settings(quick_model(precision=Precision.FP16)))


def test_after_the_check_no_head_is_kept_that_nobody_asked_for(tmp_path: Path) -> None:
    with simulated_world(tmp_path) as world:
        with TensorRtEngine(world.settings(quick_model())) as engine:
            loaded = [name for size in engine._stages()._sizes.values() for name in size.stages]
            assert loaded == ['encoder', 'decoder']
            assert engine.infer(*pictures(), outputs=Output.DESC).desc_1 is not None
        assert world.card.left() == {}


def test_a_part_of_the_picture_that_is_wrong_is_enough() -> None:
    wrong = {'pts3d_1': Difference(p50=1e-5, p95=0.9)}
    assert 'pts3d_1 by 0.001 % in the middle pixel and 90 %' in faults(wrong, Precision.FP32)[0]
    assert faults({'conf_1': Difference(float('inf'), float('inf'))}, Precision.INT8)


def test_a_model_without_its_pair_says_so(tmp_path: Path) -> None:
    folder = tmp_path / 'model'
    shutil.copytree(quick_model(), folder)
    (folder / 'check.npz').write_bytes(b'damaged')
    with pytest.raises(ModelError, match=r'check\.npz cannot be read'):
        ProcessorEngine(settings(folder))


def test_a_model_that_lost_the_size_of_its_pair_is_not_checked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level('INFO')
    folder = tmp_path / 'model'
    shutil.copytree(quick_model(), folder)
    check = Check.load(folder / 'check.npz')
    smaller = replace(check, image_1=check.image_1[:28, :28], image_2=check.image_2[:28, :28])
    smaller.save(folder / 'check.npz')
    with ProcessorEngine(settings(folder)) as engine:
        assert engine.self_check() == {}
    assert 'lacks the size of its own pair' in caplog.text
