# SPDX-License-Identifier: Apache-2.0
"""Packages for Core ML hold the very network, and the engine keeps to its contract with them.

Their programs are read back and computed here; Core ML itself runs on Apple's machines alone.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('coremltools', reason='needs coremltools')

import torch
from coreml_double import CoreMlDouble
from coreml_graph import PackageProgram
from network_engines import counted_stages, pictures, relative_error, settings
from seeded_weights import seeded_state_dict
from small_export import export_small
from tiny_model import QUICK, QUICK_SHAPE, quick_model

import mast3r_ros.export.coreml_stage as coreml_stage
from mast3r_ros.choices import ComputeUnits
from mast3r_ros.cli.export import main
from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, Precision, RuntimeConfig
from mast3r_ros.core.results import Output
from mast3r_ros.engines.coreml_engine.engine import CoreMlEngine
from mast3r_ros.engines.pytorch import PyTorchEngine
from mast3r_ros.engines.registry import engine_status
from mast3r_ros.errors import (
    EngineCancelled,
    EngineFailed,
    EngineUnavailable,
    InvalidInput,
    ModelError,
)
from mast3r_ros.export.coreml_export import convert_model
from mast3r_ros.export.coreml_stage import write_package
from mast3r_ros.export.stage_ports import stage_ports
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.coreml_packages import FOLDER, INDEX_FILE, open_packages
from mast3r_ros.models.folder import ModelFolder
from mast3r_ros.models.networks.loading import load_weights
from mast3r_ros.models.networks.precision import to_precision
from mast3r_ros.models.networks.stages import build_stages

LIMIT = 2e-5  # relative error in norm, float32
PLAIN = {
    *('add', 'cast', 'concat', 'conv', 'gelu', 'layer_norm', 'linear', 'matmul', 'mul', 'relu'),
    *('reshape', 'slice_by_index', 'softmax', 'split', 'sub', 'transpose', 'upsample_bilinear'),
}
STAGES = ('encoder', 'decoder', 'points_1', 'points_2', 'descriptors_1', 'descriptors_2')


@pytest.fixture(scope='module')
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a float32 model of every kind of layer, with its packages."""
    folder = tmp_path_factory.mktemp('models') / 'fp32'
    shutil.copytree(quick_model(), folder)
    convert_model(ModelFolder.open(folder), ComputeUnits.CPU_AND_GPU)
    return folder


@pytest.fixture
def model(converted: Path, tmp_path: Path) -> Path:
    """Return a model of the same files, some of which may be replaced."""
    return Path(shutil.copytree(converted, tmp_path / 'model', copy_function=os.link))


def put(path: Path, content: str) -> None:
    """Replace a file of one model alone."""
    path.unlink()
    path.write_text(content)


@pytest.fixture
def checked(monkeypatch: pytest.MonkeyPatch) -> CoreMlDouble:
    return CoreMlDouble().install(monkeypatch)


@pytest.fixture
def double(checked: CoreMlDouble, monkeypatch: pytest.MonkeyPatch) -> CoreMlDouble:
    """Leave out the check of every start, which takes a while."""
    monkeypatch.setattr(CoreMlEngine, '_check_at_load', lambda *_, **__: None)
    return checked


def config(folder: Path, cache: Path, device: int = 0) -> MASt3RRuntimeConfig:
    """Return the settings that run a model folder."""
    return MASt3RRuntimeConfig(
        model=ModelConfig(path=folder, resolution=112),
        runtime=RuntimeConfig(device=device),
        cache_dir=cache,
    )


def program(folder: Path, stage: str) -> PackageProgram:
    height, width = QUICK_SHAPE
    return PackageProgram(folder / FOLDER / f'{height}x{width}_{stage}.mlpackage')


def test_packages_are_plain_static_and_take_pictures_as_bytes(converted: Path) -> None:
    for stage in STAGES:
        found = program(converted, stage)
        assert {kind for kind, _ in found.operators} <= PLAIN, stage
        assert {number for _, number in found.operators} == {'fp32'}, stage
        assert found.largest_rank <= 5  # of Core ML
        description = found.spec.description
        ports = stage_ports(architecture(converted), stage, QUICK_SHAPE, QUICK_SHAPE)
        assert [item.name for item in description.output] == list(ports.outputs)
        shapes = {}
        for item in description.input:
            picture, array = item.type.imageType, item.type.multiArrayType
            is_picture = item.type.WhichOneof('Type') == 'imageType'
            shapes[item.name] = (
                (1, picture.height, picture.width, 3) if is_picture else tuple(array.shape)
            )
        assert shapes == dict(ports.inputs)
        flexible = [
            item.type.multiArrayType.WhichOneof('ShapeFlexibility') for item in description.input
        ]
        assert set(flexible) == {None}
    assert program(converted, 'encoder').spec.specificationVersion == 7  # macOS 13


def architecture(folder: Path) -> Architecture:
    return Architecture.from_dict(ModelFolder.open(folder).description.architecture)


def test_the_programs_of_the_packages_answer_as_the_network(
    converted: Path, checked: CoreMlDouble, tmp_path: Path
) -> None:
    with CoreMlEngine(config(converted, tmp_path)) as engine:
        found = engine.infer(*pictures())
        info = engine.describe()
    assert (info.name, info.device, info.precision) == ('coreml', 'cpu_and_gpu', 'fp32')
    assert info.versions['state'] == 'not yet run on hardware'
    with PyTorchEngine(settings(converted)) as reference:
        wanted = reference.infer(*pictures())
    for name in ('pts3d_1', 'conf_1', 'pts3d_2', 'desc_1', 'desc_conf_2'):
        assert relative_error(getattr(found, name), getattr(wanted, name)) <= LIMIT, name


def test_a_core_ml_that_computes_something_else_is_refused(
    converted: Path, checked: CoreMlDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = PackageProgram.answer

    def wrong(program: PackageProgram, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: 1.3 * array for name, array in answer(program, inputs).items()}

    monkeypatch.setattr(PackageProgram, 'answer', wrong)
    with pytest.raises(EngineUnavailable, match='pts3d_1'):
        CoreMlEngine(config(converted, tmp_path))


def test_half_precision_holds_the_products_and_neither_norms_nor_softmax_nor_heads(
    tmp_path: Path,
) -> None:
    network = build_stages(QUICK, QUICK_SHAPE, QUICK_SHAPE)
    arrays = seeded_state_dict(QUICK, 11)
    load_weights(network, {key: torch.from_numpy(array) for key, array in arrays.items()})
    network = to_precision(network, Precision.FP16)
    for stage, module in (
        ('encoder', network.encoder_1),
        ('descriptors_1', network.descriptors_1),
    ):
        ports = stage_ports(QUICK, stage, QUICK_SHAPE, QUICK_SHAPE)
        write_package(module, ports, tmp_path / f'{stage}.mlpackage')
    encoder = PackageProgram(tmp_path / 'encoder.mlpackage').operators
    for kind in ('linear', 'matmul', 'gelu'):
        assert encoder[kind, 'fp16'] > 0
        assert encoder[kind, 'fp32'] == 0
    for kind in ('layer_norm', 'softmax', 'add'):
        assert encoder[kind, 'fp32'] > 0
        assert encoder[kind, 'fp16'] == 0
    head = PackageProgram(tmp_path / 'descriptors_1.mlpackage').operators
    assert {number for _, number in head} == {'fp32'}


def test_a_half_precision_model_with_rotary_positions_answers_as_the_network(
    tmp_path: Path, double: CoreMlDouble
) -> None:
    export_small(tmp_path / 'fp16', precision=Precision.FP16)
    assert main(['--target', 'coreml', '--output', str(tmp_path / 'fp16')]) == 0
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 256, (32, 48, 3), dtype=np.uint8) for _ in range(2)]
    sized = settings(tmp_path / 'fp16', shape=(32, 48)).replace(cache_dir=tmp_path)
    with CoreMlEngine(sized) as engine:
        found = engine.infer(*images)
        assert engine.describe().precision == 'fp16'
        assert engine.describe().device == 'all'
    with PyTorchEngine(sized) as reference:
        wanted = reference.infer(*images)
    assert relative_error(found.pts3d_1, wanted.pts3d_1) < 2e-3


def test_the_command_says_what_it_converted_and_converts_nothing_twice(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(model / FOLDER / f'{QUICK_SHAPE[0]}x{QUICK_SHAPE[1]}_descriptors_2.mlpackage')
    options = ['--target', 'coreml', '--output', str(model), '--json']
    assert main([*options, '--compute-units', 'cpu_and_ne']) == 0
    said = json.loads(capsys.readouterr().out)
    assert said['converted'] == ['84x112_descriptors_2.mlpackage']
    assert len(said['there_already']) == 5
    assert open_packages(ModelFolder.open(model)).compute_units is ComputeUnits.CPU_AND_NE
    assert main(options[:-1]) == 0
    assert '84x112_encoder.mlpackage' in capsys.readouterr().out
    assert not list(model.glob('.*'))


def test_what_core_ml_cannot_take_is_refused_before_any_work(
    converted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = ModelFolder.open(converted)
    eight_bit = replace(whole, description=replace(whole.description, precision=Precision.INT8))
    with pytest.raises(InvalidInput, match=r'is int8, and Core ML takes fp16 and fp32'):
        convert_model(eight_bit)
    assert main(['--target', 'coreml', '--size', '336x252']) != 0
    assert 'add a size without --target first' in capsys.readouterr().err


def test_libraries_that_do_not_fit_each_other_are_named(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise NotImplementedError('Unsupported fx node odd\nmore')

    monkeypatch.setattr(coreml_stage, '_convert', fail)
    with pytest.raises(
        ModelError, match=r'cannot convert .* with PyTorch .*: Unsupported fx node odd; install'
    ):
        convert_model(ModelFolder.open(model), overwrite=True)
    assert open_packages(ModelFolder.open(model))  # the old ones are still there


def test_a_missing_converter_is_named(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coreml_stage, 'find_spec', lambda _: None)
    with pytest.raises(EngineUnavailable, match=r"pip install 'mast3r_ros\[coreml\]'"):
        convert_model(ModelFolder.open(model), overwrite=True)
    assert open_packages(ModelFolder.open(model))


def test_only_what_is_asked_for_is_loaded_and_run(
    converted: Path, double: CoreMlDouble, tmp_path: Path
) -> None:
    with CoreMlEngine(config(converted, tmp_path)) as engine:
        double.run.clear()
        with counted_stages(engine) as stages:
            engine.infer(*pictures(), outputs=Output.CLOUD_1)
        assert stages == ['encoder', 'encoder', 'decoder', 'points_1']
        assert [name.partition('_')[2] for name in double.run] == stages


def test_packages_are_compiled_once_for_this_machine(
    converted: Path, double: CoreMlDouble, tmp_path: Path
) -> None:
    for _ in range(2):
        with CoreMlEngine(config(converted, tmp_path)) as engine:
            engine.infer(*pictures(), outputs=Output.CLOUD_1)
    assert len(double.compiled) == len(set(double.compiled))
    for compiled in tmp_path.rglob('*.mlmodelc'):
        (compiled / 'Manifest.json').unlink()
    with CoreMlEngine(config(converted, tmp_path)) as engine:
        assert engine.infer(*pictures(), outputs=Output.CLOUD_1).pts3d_1 is not None
    assert double.compiled.count('84x112_encoder') == 2


def test_device_minus_one_is_the_processor(
    converted: Path, double: CoreMlDouble, tmp_path: Path
) -> None:
    with CoreMlEngine(config(converted, tmp_path, device=-1)) as engine:
        assert engine.describe().device == 'cpu_only'
    assert {units for _, units in double.loaded} == {'CPU_ONLY'}


def test_a_cancel_ends_the_pair_before_the_next_stage(
    converted: Path, double: CoreMlDouble, tmp_path: Path
) -> None:
    with CoreMlEngine(config(converted, tmp_path)) as engine:
        load = engine._load

        def cancel_then_load(*which: object) -> bool:
            engine.cancel()
            return load(*which)

        engine._load = cancel_then_load  # type: ignore[assignment,method-assign]
        with pytest.raises(EngineCancelled):
            engine.infer(*pictures())
        engine._load = load  # type: ignore[method-assign]
        assert engine.infer(*pictures(), outputs=Output.CLOUD_2).pts3d_2 is not None


def test_what_is_missing_or_damaged_is_said_with_the_command_that_cures_it(
    model: Path, double: CoreMlDouble, tmp_path: Path
) -> None:
    weight = next((model / FOLDER).glob('*_decoder.mlpackage')) / 'Data' / 'com.apple.CoreML'
    put(weight / 'weights' / 'weight.bin', '')
    with pytest.raises(ModelError, match=r'84x112_decoder.mlpackage has \d+ bytes and should'):
        CoreMlEngine(config(model, tmp_path))
    index = json.loads((model / FOLDER / INDEX_FILE).read_text())
    put(model / FOLDER / INDEX_FILE, json.dumps({**index, 'weights': 'others'}))
    with pytest.raises(EngineUnavailable, match=r'mast3r-export .* --target coreml --precision'):
        CoreMlEngine(config(model, tmp_path))
    put(model / FOLDER / INDEX_FILE, '{')
    with pytest.raises(ModelError, match='not valid JSON'):
        CoreMlEngine(config(model, tmp_path))


def test_a_stage_that_fails_is_named(
    converted: Path, double: CoreMlDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with CoreMlEngine(config(converted, tmp_path)) as engine:
        monkeypatch.setattr(PackageProgram, 'answer', None)
        with pytest.raises(EngineFailed, match=r'Core ML failed in 84x112_encoder.mlpackage'):
            engine.infer(*pictures())


@pytest.mark.skipif(sys.platform == 'darwin', reason='needs a machine without Core ML')
def test_elsewhere_it_says_that_it_needs_an_apple_machine(converted: Path) -> None:
    reason = f'Core ML runs on Apple machines alone and this one runs {sys.platform}'
    assert reason in engine_status('coreml').reason
    with pytest.raises(EngineUnavailable, match=reason):
        CoreMlEngine(settings(converted))


@pytest.mark.skipif(sys.platform != 'darwin', reason='needs an Apple machine')
def test_core_ml_itself_answers_as_the_network(converted: Path, tmp_path: Path) -> None:
    with PyTorchEngine(settings(converted)) as reference:
        wanted = reference.infer(*pictures())
    with CoreMlEngine(config(converted, tmp_path, device=-1)) as engine:
        found = engine.infer(*pictures())
    for name in ('pts3d_1', 'conf_1', 'pts3d_2', 'desc_1', 'desc_conf_2'):
        assert relative_error(getattr(found, name), getattr(wanted, name)) <= 1e-3, name
