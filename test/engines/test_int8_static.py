# SPDX-License-Identifier: Apache-2.0
"""Int8 with ranges from pictures: plain operators, weights in one file, near on both runtimes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')
pytest.importorskip('openvino', reason='needs openvino')
pytest.importorskip('nncf', reason='needs nncf')

import onnx
from network_engines import EngineClass, pictures, relative_error, settings
from tiny_model import QUICK, QUICK_SHAPE, quick_model

from mast3r_ros.config import ModelVariant, Precision
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
from mast3r_ros.engines.openvino_engine.engine import OpenVinoEngine
from mast3r_ros.engines.openvino_engine.model_choice import choose_model
from mast3r_ros.errors import InvalidInput, ModelError
from mast3r_ros.export.calibration import sample_stages
from mast3r_ros.export.exporter import ExportRequest, export_model
from mast3r_ros.export.source import ModelSource
from mast3r_ros.models.checkpoints import Checkpoint
from mast3r_ros.models.description import STAGES
from mast3r_ros.models.folder import ModelFolder


@pytest.fixture(scope='module')
def folder() -> Path:
    return quick_model(precision=Precision.INT8, calibrated=True)


def graph(folder: Path, stage: str) -> Any:
    path = ModelFolder.open(folder).stage_path(stage, QUICK_SHAPE)
    return onnx.load(path, load_external_data=False).graph


def kinds(found: Any) -> dict[str, bool]:
    """Return the weights of a graph's products, and whether each is in eight bits."""
    made_by = {name: node for node in found.node for name in node.output}
    constants = {item.name for item in found.initializer}
    eight_bit = {}
    for node in found.node:
        if node.op_type in ('MatMul', 'Conv'):
            maker = made_by.get(node.input[1])
            if maker is not None and maker.op_type == 'DequantizeLinear':
                eight_bit[maker.input[0]] = maker.input[0] in constants
            elif node.input[1] in constants:
                eight_bit[node.input[1]] = False
            elif (
                maker is not None and maker.op_type == 'Transpose' and maker.input[0] in constants
            ):
                eight_bit[maker.input[0]] = False
    return eight_bit


def test_the_trunk_is_in_eight_bits_and_what_makes_the_answer_is_not(folder: Path) -> None:
    for stage in ('encoder', 'decoder'):
        assert all(kinds(graph(folder, stage)).values())
    for stage in ('descriptors_1', 'descriptors_2'):
        assert sorted(kinds(graph(folder, stage)).values()) == [False, True]
    assert not any(kinds(graph(folder, 'points_1')).values())


def test_the_large_weights_lie_in_the_weights_file_in_eight_bits(folder: Path) -> None:
    for stage in ('encoder', 'decoder', 'descriptors_1', 'descriptors_2'):
        items = graph(folder, stage).initializer
        assert max(len(item.raw_data) for item in items if not item.external_data) < 1 << 16
        found = {item.data_type for item in items if item.external_data}
        assert onnx.TensorProto.INT8 in found


@pytest.mark.parametrize('engine_class', [ProcessorEngine, OpenVinoEngine])
def test_both_runtimes_come_near_float32(folder: Path, engine_class: EngineClass) -> None:
    whole = ProcessorEngine(settings(quick_model())).infer(*pictures())
    with engine_class(settings(folder)) as engine:
        eight = engine.infer(*pictures())
        assert engine.describe().precision == 'int8'
    for name in ('pts3d_1', 'pts3d_2', 'desc_1', 'desc_2'):
        error = relative_error(getattr(eight, name), getattr(whole, name))
        assert 1e-4 < error < 0.15, name


def test_openvino_never_takes_it_by_itself_before_it_is_proven(
    folder: Path, tmp_path: Path
) -> None:
    home = tmp_path / 'models' / 'dune_vit_small'
    home.mkdir(parents=True)
    (home / 'int8').symlink_to(folder)
    (home / 'fp32').symlink_to(quick_model())
    config = settings(folder).replace(cache_dir=tmp_path)
    model, precision = choose_model(config.replace(model=config.model.replace(path=None)), True)
    assert model.path == home / 'fp32'
    assert precision is Precision.BF16


def test_stages_are_sampled_once_a_view_and_once_a_pair() -> None:
    from network_runs import SMALL, seeded_stages

    from mast3r_ros.export.stage_export import eager_runner

    architecture = SMALL['dune']
    shape = (28, 42)
    run = eager_runner(architecture, seeded_stages(architecture, shape))
    pairs = [tuple(np.zeros((60, 80, 3), np.uint8) for _ in range(2)) for _ in range(3)]
    samples = sample_stages(architecture, run, pairs, (shape, shape)).by_stage
    assert {name: len(items) for name, items in samples.items()} == {
        'encoder': 6, **dict.fromkeys(STAGES[1:], 3)
    }  # fmt: skip
    assert samples['encoder'][0]['image'].shape == (1, *shape, 3)


def test_pictures_are_for_int8_alone(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match='only int8 is calibrated; leave out --calibrate'):
        ExportRequest(None, [], Precision.FP16, tmp_path, pictures=[pictures()])


def test_a_calibrated_model_refuses_another_size_at_once(folder: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(folder, tmp_path / 'model'))
    before = sorted(path.name for path in model.iterdir())
    sources = ModelFolder.open(model).description.sources
    source = ModelSource(Checkpoint(QUICK, {}, sources), ModelVariant.DUNE_VIT_SMALL)
    sizes = [((84, 84), (84, 84))]
    request = ExportRequest(source, sizes, Precision.INT8, model, pictures=[pictures()])
    with pytest.raises(ModelError, match='lacks 84x84, and a calibrated model takes no more'):
        export_model(request)
    assert sorted(path.name for path in model.iterdir()) == before
