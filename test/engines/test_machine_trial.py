# SPDX-License-Identifier: Apache-2.0
"""Auto tries the processor's engines once a machine and model, and takes only what is exact."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')
pytest.importorskip('openvino', reason='needs openvino')

from network_engines import settings
from tiny_model import quick_model

from mast3r_ros.config import BackendType, MASt3RRuntimeConfig, Precision
from mast3r_ros.engines.machine_trial import Setting, fastest_setting
from mast3r_ros.engines.registry import PROCESSOR_ENGINES, _build, get_runtime

Count = Callable[[BackendType, MASt3RRuntimeConfig], Any]


def config(tmp_path: Path, **runtime: Any) -> MASt3RRuntimeConfig:
    chosen = settings(quick_model()).replace(cache_dir=tmp_path)
    return chosen.replace(runtime=chosen.runtime.replace(**runtime))


def counting(built: list[Setting], spoil: Setting | None = None) -> Count:
    """Return what builds engines and notes it; one of them answers something else."""

    def build(backend: BackendType, chosen: MASt3RRuntimeConfig) -> Any:
        setting = Setting(backend, chosen.model.precision)
        engine = _build(backend, chosen)
        built.append(setting)
        if setting == spoil:
            to_host = engine.to_host
            engine.to_host = lambda value: np.flip(to_host(value), 1)  # type: ignore[attr-defined]
        return engine

    return build


def test_it_is_made_once_and_says_what_it_chose(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    built: list[Setting] = []
    first = fastest_setting(config(tmp_path), PROCESSOR_ENGINES, counting(built))
    assert Setting(BackendType.OPENVINO, Precision.FP32) in built
    assert Setting(BackendType.ONNXRUNTIME, Precision.FP32) in built
    assert f'auto chose {first} for this machine (' in caplog.text
    (kept,) = (tmp_path / 'trials').iterdir()
    seconds = json.loads(kept.read_text())['seconds']
    assert min(seconds, key=seconds.get) == str(first)
    built.clear()
    assert fastest_setting(config(tmp_path), PROCESSOR_ENGINES, counting(built)) == first
    assert built == []
    kept.write_text('damaged')
    fastest_setting(config(tmp_path), PROCESSOR_ENGINES[1:], counting(built))
    assert built == [Setting(BackendType.ONNXRUNTIME, Precision.FP32)]


def test_what_answers_something_else_is_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    spoilt = Setting(BackendType.OPENVINO, Precision.FP32)
    chosen = config(tmp_path).replace(model=config(tmp_path).model.replace(precision='fp32'))
    found = fastest_setting(chosen, PROCESSOR_ENGINES, counting([], spoilt))
    assert found == Setting(BackendType.ONNXRUNTIME, Precision.FP32)
    assert 'openvino fp32 is left out: median point error' in caplog.text


def test_another_model_or_number_of_threads_is_another_trial(tmp_path: Path) -> None:
    for threads in (1, 2):
        fastest_setting(config(tmp_path, num_threads=threads), PROCESSOR_ENGINES[1:], _build)
    assert len(list((tmp_path / 'trials').iterdir())) == 2


def test_it_can_be_turned_off(tmp_path: Path) -> None:
    with get_runtime(config(tmp_path, trial=False)) as engine:
        assert engine.describe().name == 'openvino'
    assert not (tmp_path / 'trials').exists()


def test_auto_runs_what_the_trial_found(tmp_path: Path) -> None:
    with get_runtime(config(tmp_path)) as engine:
        info = engine.describe()
    (kept,) = (tmp_path / 'trials').iterdir()
    outcome = json.loads(kept.read_text())
    assert (outcome['backend'], outcome['precision']) == (info.name, info.precision)
