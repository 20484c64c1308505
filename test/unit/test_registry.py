# SPDX-License-Identifier: Apache-2.0
"""Which engine runs: by name, by auto, or by a fallback that is asked for and said."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest
from oracle_engine import OracleEngine

from mast3r_ros.config import BackendType, MASt3RRuntimeConfig, ModelConfig, RuntimeConfig
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.engines import registry
from mast3r_ros.engines.registry import EngineSpec, engine_status, get_runtime, pick_auto
from mast3r_ros.errors import EngineUnavailable, Mast3rError, ModelNotFound


def working(config: MASt3RRuntimeConfig) -> OracleEngine:
    return OracleEngine(config.model)


def without_model(config: MASt3RRuntimeConfig) -> EngineInterface:
    raise ModelNotFound(f'there is no {config.model.variant.value} here; export it')


def without_driver(config: MASt3RRuntimeConfig) -> EngineInterface:
    raise EngineUnavailable('the driver is too old; install 550 or newer')


def no_card() -> str:
    return 'there is no card'


def config(backend: str, fallback: str = 'none') -> MASt3RRuntimeConfig:
    return MASt3RRuntimeConfig(
        model=ModelConfig(resolution=112),
        runtime=RuntimeConfig(backend=backend, fallback=fallback),
    )


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> dict[BackendType, EngineSpec]:
    """An empty registry, so that no test depends on what is installed here."""
    makers = [working, without_model, without_driver, no_card]
    module = SimpleNamespace(**{maker.__name__: maker for maker in makers})
    monkeypatch.setitem(sys.modules, 'sample_engines', module)
    made: dict[BackendType, EngineSpec] = {}
    monkeypatch.setattr(registry, 'ENGINES', made)
    return made


def spec(name: str, *needs: str, extra: str = 'onnx') -> EngineSpec:
    return EngineSpec(f'sample_engines:{name}', needs, extra)


def test_an_engine_chosen_by_name_is_built_with_the_settings(engines) -> None:
    engines[BackendType.ONNXRUNTIME] = spec('working')
    with get_runtime(config('onnxruntime')) as engine:
        assert isinstance(engine, OracleEngine)
        assert engine._model.resolution == 112
    assert engine.closed


def test_auto_takes_the_fastest_that_can_run_and_says_why_not_those_before_it(
    engines, caplog: pytest.LogCaptureFixture
) -> None:
    engines[BackendType.TENSORRT] = spec('working', 'no_such_library', extra='tensorrt')
    engines[BackendType.OPENVINO] = spec('working')
    engines[BackendType.ONNXRUNTIME] = spec('working')
    chosen, passed_over = pick_auto()
    assert chosen is BackendType.OPENVINO
    assert [status.backend for status in passed_over] == [
        BackendType.COREML,
        BackendType.TENSORRT,
        BackendType.CUDA,
    ]
    with caplog.at_level(logging.INFO):
        get_runtime(config('auto'))
    assert 'auto chose openvino' in caplog.text
    assert "no_such_library is not installed; pip install 'mast3r_ros[tensorrt]'" in caplog.text


def test_auto_goes_on_where_an_engine_cannot_be_built_and_says_why(
    engines, caplog: pytest.LogCaptureFixture
) -> None:
    engines[BackendType.CUDA] = spec('without_driver')
    engines[BackendType.ONNXRUNTIME] = spec('working')
    with caplog.at_level(logging.INFO):
        assert isinstance(get_runtime(config('auto')), OracleEngine)
    assert 'auto chose onnxruntime' in caplog.text
    assert 'cuda: the driver is too old; install 550 or newer' in caplog.text


def test_auto_does_not_look_for_another_engine_when_the_model_is_missing(engines) -> None:
    engines[BackendType.OPENVINO] = spec('without_model')
    engines[BackendType.ONNXRUNTIME] = spec('working')
    with pytest.raises(ModelNotFound, match='export it'):
        get_runtime(config('auto'))


def test_what_else_keeps_an_engine_from_running_is_said(engines) -> None:
    engines[BackendType.CUDA] = EngineSpec(
        'sample_engines:working', ('json',), 'cuda', 'sample_engines:no_card'
    )
    assert engine_status(BackendType.CUDA).reason == 'there is no card'
    with pytest.raises(EngineUnavailable, match='the cuda engine cannot run: there is no card'):
        get_runtime(config('cuda'))


def test_auto_never_takes_geometry(engines) -> None:
    engines[BackendType.GEOMETRIC] = spec('working')
    assert pick_auto()[0] is None
    with pytest.raises(EngineUnavailable, match='backend: geometric') as caught:
        get_runtime(config('auto'))
    for backend in registry.AUTO_ORDER:
        assert f'{backend.value}: ' in str(caught.value)


def test_auto_tries_every_network_engine_there_is() -> None:
    networks = set(BackendType) - {BackendType.AUTO, BackendType.GEOMETRIC}
    assert set(registry.AUTO_ORDER) == networks
    assert len(registry.AUTO_ORDER) == len(networks)


def test_a_missing_library_is_named_with_the_command_that_installs_it(engines) -> None:
    engines[BackendType.CUDA] = spec('working', 'json', 'no_such_library', extra='cuda')
    with pytest.raises(EngineUnavailable, match='no_such_library is not installed') as caught:
        get_runtime(config('cuda'))
    assert "pip install 'mast3r_ros[cuda]'" in str(caught.value)
    assert 'the cuda engine cannot run' in str(caught.value)


def test_an_engine_that_does_not_exist_yet_is_said_to_be_missing(engines) -> None:
    with pytest.raises(EngineUnavailable, match='coreml engine cannot run: this version'):
        get_runtime(config('coreml'))


def test_asking_for_a_status_imports_no_library(engines) -> None:
    engines[BackendType.CUDA] = spec('working', 'antigravity')
    assert engine_status(BackendType.CUDA).available
    assert 'antigravity' not in sys.modules


@pytest.mark.parametrize('broken', ['without_model', 'without_driver'])
def test_fallback_takes_geometry_and_says_so(
    broken: str, engines, caplog: pytest.LogCaptureFixture
) -> None:
    engines[BackendType.CUDA] = spec(broken)
    engines[BackendType.GEOMETRIC] = spec('working')
    with caplog.at_level(logging.WARNING):
        engine = get_runtime(config('cuda', fallback='geometric'))
    assert isinstance(engine, OracleEngine)
    assert 'the geometric engine runs instead' in caplog.text
    assert 'install' in caplog.text or 'export it' in caplog.text


def test_fallback_of_auto_takes_geometry_where_nothing_else_is(engines, caplog) -> None:
    engines[BackendType.GEOMETRIC] = spec('working')
    with caplog.at_level(logging.WARNING):
        assert isinstance(get_runtime(config('auto', fallback='geometric')), OracleEngine)
    assert 'the geometric engine runs instead' in caplog.text


@pytest.mark.parametrize('broken', ['without_model', 'without_driver'])
def test_without_a_fallback_the_engine_s_own_error_comes_through(broken: str, engines) -> None:
    engines[BackendType.CUDA] = spec(broken)
    engines[BackendType.GEOMETRIC] = spec('working')
    with pytest.raises(Mast3rError, match=r'export it|install 550'):
        get_runtime(config('cuda'))


def test_a_fallback_that_cannot_run_either_is_an_error(engines) -> None:
    with pytest.raises(EngineUnavailable, match='geometric engine cannot run'):
        get_runtime(config('cuda', fallback='geometric'))


def test_without_settings_the_defaults_hold(engines) -> None:
    engines[BackendType.ONNXRUNTIME] = spec('working')
    assert isinstance(get_runtime(), OracleEngine)


@pytest.mark.parametrize('backend', registry.ENGINES)
def test_every_registered_engine_is_a_known_backend_with_a_cure(backend: BackendType) -> None:
    entry = registry.ENGINES[backend]
    assert backend is not BackendType.AUTO
    assert entry.target.startswith('mast3r_ros.engines.')
    assert bool(entry.needs) == bool(entry.extra)
