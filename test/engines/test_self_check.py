# SPDX-License-Identifier: Apache-2.0
"""An engine that computes nonsense is refused with the figures; rounding alone never is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from network_engines import pictures, settings
from tensorrt_world import simulated_world
from tiny_model import quick_model

from mast3r_ros.config import Precision
from mast3r_ros.core.results import Output
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
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
    with (
        ProcessorEngine(settings(folder)) as engine,
        pytest.raises(ModelError, match=r'check\.npz cannot be read'),
    ):
        engine.self_check()


def test_a_model_that_lost_the_size_of_its_pair_is_not_checked(tmp_path: Path) -> None:
    folder = tmp_path / 'model'
    shutil.copytree(quick_model(), folder)
    check = Check.load(folder / 'check.npz')
    smaller = replace(check, image_1=check.image_1[:28, :28], image_2=check.image_2[:28, :28])
    smaller.save(folder / 'check.npz')
    with ProcessorEngine(settings(folder)) as engine:
        assert engine.self_check() == {}
