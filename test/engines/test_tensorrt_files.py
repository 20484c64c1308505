# SPDX-License-Identifier: Apache-2.0
"""Built engines: kept whole, used for what they were built for alone, built again otherwise."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from network_engines import pictures
from tensorrt_world import World, simulated_world
from tiny_model import quick_model

from mast3r_ros.config import Precision
from mast3r_ros.core.results import Output
from mast3r_ros.engines.tensorrt_engine.builder import BuildSettings
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine
from mast3r_ros.engines.tensorrt_engine.engine_files import (
    EngineKey,
    read_engine,
    write_atomically,
    write_engine,
)
from mast3r_ros.engines.tensorrt_engine.opening import building_store
from mast3r_ros.engines.tensorrt_engine.store import all_stages
from mast3r_ros.errors import EngineCancelled, EngineUnavailable, ModelError
from mast3r_ros.models.folder import ModelFolder

STAGES = 6
KEY = EngineKey('w', 'g', 'encoder', '84x112', 'fp16', '10.3', 'Orin', '8.7', 'CUDA 12.6')


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with simulated_world(tmp_path) as made:
        yield made
        assert made.card.left() == {}


def start(world: World, precision: Precision = Precision.FP32) -> None:
    """Start and stop the engine."""
    TensorRtEngine(world.settings(quick_model(precision=precision))).close()


def test_engines_are_built_at_the_first_start_and_read_at_every_later_one(world: World) -> None:
    start(world)
    assert len(world.tensorrt.builds) == len(world.engine_files()) == STAGES
    start(world)
    assert len(world.tensorrt.builds) == STAGES
    assert all('Simulated_Orin_8.7' in str(path) for path in world.engine_files())


@pytest.mark.parametrize(
    'harm',
    [
        lambda content: b'',
        lambda content: content[: len(content) // 2],
        lambda content: content[:-1] + b'?',
        lambda content: b'ftrt' + content[4:],
        lambda content: content.replace(b'"key"', b'"kay"'),
        lambda content: content.replace(b'{', b'[', 1),
        lambda content: content[:60] + bytes([content[60] ^ 1]) + content[61:],
    ],
)
def test_a_damaged_file_is_built_anew_and_never_loaded(
    harm: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    path = tmp_path / 'x.engine'
    write_engine(path, KEY, b'plan' * 100, {})
    assert read_engine(path, KEY) == b'plan' * 100
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(ModelError):
        read_engine(path, KEY)


@pytest.mark.parametrize('name', list(vars(KEY)))
def test_an_engine_of_anything_else_is_never_loaded(name: str, tmp_path: Path) -> None:
    write_engine(tmp_path / 'x.engine', KEY, b'plan', {})
    with pytest.raises(ModelError, match=f'built for another {name} .*, now other'):
        read_engine(tmp_path / 'x.engine', replace(KEY, **{name: 'other'}))


def test_a_damaged_file_heals_itself(world: World, caplog: pytest.LogCaptureFixture) -> None:
    start(world)
    path = world.engine_files()[1]
    path.write_bytes(path.read_bytes()[:-3])
    start(world)
    assert len(world.tensorrt.builds) == STAGES + 1
    assert f'{path} is built anew: it is damaged' in caplog.text
    start(world)
    assert len(world.tensorrt.builds) == STAGES + 1


def test_a_new_driver_a_new_tensorrt_and_another_card_build_anew(tmp_path: Path) -> None:
    for version, card, builds in (
        ('10.3', {}, STAGES),
        ('10.3', {'driver': 12080}, STAGES),
        ('11.4', {'driver': 12080}, STAGES),
        ('11.4', {'driver': 12080}, 0),
        ('11.4', {'driver': 12080, 'name': 'Other', 'capability': (8, 9)}, STAGES),
        ('11.4', {'driver': 12080}, 0),
    ):
        with simulated_world(tmp_path, version, **card) as world:
            start(world)
            assert len(world.tensorrt.builds) == builds
    assert len(world.engine_files()) == 2 * STAGES  # of two cards; older ones were replaced


def test_another_precision_of_the_weights_has_engines_of_its_own(world: World) -> None:
    start(world)
    start(world, Precision.FP16)
    assert len(world.engine_files()) == 2 * STAGES


def test_an_engine_that_tensorrt_refuses_is_built_once_more(world: World) -> None:
    start(world)
    loads, runtime = [], world.tensorrt.fails

    def refuse_first(call: str, listener: object) -> bool:
        if call == 'deserialize_cuda_engine':
            loads.append(call)
            return len(loads) == 1
        return runtime(call, listener)

    world.tensorrt.fails = refuse_first  # type: ignore[method-assign]
    start(world)
    assert len(world.tensorrt.builds) == STAGES + 1
    world.tensorrt.fails = runtime  # type: ignore[method-assign]
    world.tensorrt.breaks.add('deserialize_cuda_engine')
    with pytest.raises(EngineUnavailable, match='cannot load the engine of encoder that it built'):
        start(world)


def test_a_graph_that_tensorrt_cannot_read_is_named_with_the_reason(world: World) -> None:
    world.tensorrt.breaks.add('parse_from_file')
    with pytest.raises(EngineUnavailable, match=r'cannot read 84x112_encoder\.onnx: Odd: no imp'):
        start(world)


def test_a_build_that_fails_is_told_with_what_tensorrt_said(world: World) -> None:
    world.tensorrt.breaks.add('build_serialized_network')
    with pytest.raises(EngineUnavailable, match='build_serialized_network was told to fail'):
        start(world)
    assert world.engine_files() == []


def test_products_of_a_float32_model_keep_all_their_bits(world: World) -> None:
    start(world)
    assert all('TF32' not in config.flags_on for config in world.tensorrt.configs)
    start(world, Precision.FP16)
    assert 'TF32' in world.tensorrt.configs[-1].flags_on


def test_what_a_build_measured_is_kept_for_the_next_and_that_of_others_is_left_out(
    world: World,
) -> None:
    start(world)
    (timing,) = world.cache.glob('engines/tensorrt/timing/*.cache')
    assert timing.read_bytes().startswith(b'timing')
    for content in (b'damaged', b'timing of another card'):
        timing.write_bytes(content)
        world.engine_files()[0].unlink()
        start(world)
        assert timing.read_bytes() == b'timing10.3'


def test_engines_can_be_built_ahead_with_settings_and_progress(world: World) -> None:
    told: list[tuple[float, str]] = []
    config = world.settings(quick_model())
    wanted = all_stages(ModelFolder.open(quick_model()))
    with building_store(config, BuildSettings(level=5, workspace_mb=512)) as store:
        built = store.build_missing(wanted, lambda *progress: told.append(progress))
        assert built == wanted
        assert store.build_missing(wanted, lambda *_: None) == []
        commands = store.commands(wanted[:1])
    assert [fraction for fraction, _ in told] == sorted(fraction for fraction, _ in told)
    assert told[-1][0] == pytest.approx(1.0)
    assert any('84x112_decoder: Timing' in text for _, text in told)
    settings = world.tensorrt.configs[0]
    assert settings.builder_optimization_level == 5
    assert settings.limits == {'WORKSPACE': 512 << 20}
    assert '--stronglyTyped --builderOptimizationLevel=5' in commands[0]
    assert '--memPoolSize=workspace:512 --noTF32' in commands[0]
    head = world.engine_files()[0].read_bytes().split(b'\n')[1]
    assert json.loads(head)['built_with']['level'] == 5
    start(world)
    assert len(world.tensorrt.builds) == STAGES


def test_a_build_ends_soon_after_it_is_called_off(world: World) -> None:
    config = world.settings(quick_model())
    made: list[TensorRtEngine] = []

    class Impatient(TensorRtEngine):
        def _build_missing(self, *arguments: Any) -> None:
            made.append(self)
            self.cancel()
            super()._build_missing(*arguments)

    with pytest.raises(EngineCancelled, match=r'building the engine of .* was cancelled'):
        Impatient(config)
    assert world.engine_files() == []


def test_two_starts_at_once_build_once(world: World) -> None:
    errors: list[BaseException] = []
    config = world.settings(quick_model())
    wanted = all_stages(ModelFolder.open(quick_model()))

    def build() -> None:
        try:
            with building_store(config, BuildSettings()) as store:
                store.build_missing(wanted, lambda *_: None)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=build) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(world.tensorrt.builds) == sorted(set(world.tensorrt.builds))


@pytest.mark.skipif(os.geteuid() == 0, reason='needs a machine without root rights')
def test_a_folder_that_cannot_be_written_is_named_before_minutes_are_spent(world: World) -> None:
    world.cache.chmod(0o500)
    try:
        with pytest.raises(EngineUnavailable, match='choose another cache_dir'):
            start(world)
    finally:
        world.cache.chmod(0o700)


def test_a_file_in_the_place_of_the_folder_is_named(world: World) -> None:
    (world.cache / 'engines').write_text('')
    with pytest.raises(
        EngineUnavailable, match=r'cannot be written: .*; choose another cache_dir'
    ):
        start(world)
    assert world.tensorrt.builds == []


def test_a_full_disk_costs_the_file_but_not_the_engine(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('mast3r_ros.engines.tensorrt_engine.engine_files.write_atomically', full)
    with TensorRtEngine(world.settings(quick_model())) as engine:
        assert engine.infer(*pictures(), outputs=Output.CLOUD_1).pts3d_1 is not None
    assert 'cannot be kept and is built at every start: No space left' in caplog.text
    assert world.engine_files() == []


def test_an_interrupted_write_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / 'x'
    write_atomically(path, b'old')

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr('os.replace', interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b'new')
    assert path.read_bytes() == b'old'
    assert list(tmp_path.iterdir()) == [path]


def test_the_minutes_of_the_first_start_are_announced(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        start(world)
    assert 'builds 6 engines for Simulated Orin; that takes minutes' in caplog.text
