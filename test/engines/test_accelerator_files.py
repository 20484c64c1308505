# SPDX-License-Identifier: Apache-2.0
"""Preprocessing and matching beside a model: TensorRT and Core ML take them and the stages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

import onnx
import onnxruntime
from network_engines import pictures, settings
from small_export import save_small_checkpoint
from tensorrt_parser import refused_by_tensorrt
from tiny_model import DUST3R, MAST3R, quick_model, tiny_model

from mast3r_ros.cli.export import main
from mast3r_ros.config import Precision
from mast3r_ros.core.matching import fast_reciprocal_matches
from mast3r_ros.core.views import View
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
from mast3r_ros.errors import InvalidInput
from mast3r_ros.export.accelerator_graphs import FOLDER, wanted_graphs, write_graphs
from mast3r_ros.export.matching_graph import MatchingPlan, settled_matches
from mast3r_ros.models.folder import ModelFolder

FRAME = (160, 120)  # becomes the quick model's 112x84


@pytest.mark.parametrize(
    'folder',
    [
        lambda: quick_model(),
        lambda: quick_model(precision=Precision.FP16),
        lambda: tiny_model(MAST3R),
        lambda: tiny_model(DUST3R),
    ],
    ids=['float32', 'float16', 'rotary positions', 'no descriptors'],
)
def test_tensorrt_s_parser_takes_every_stage(folder: Any) -> None:
    paths = sorted(folder().glob('*.onnx'))
    assert len(paths) >= 4
    for path in paths:
        model = onnx.load(str(path), load_external_data=False)
        assert list(refused_by_tensorrt(model)) == [], path.name


def test_tensorrt_s_parser_takes_preprocessing_and_matching() -> None:
    model = ModelFolder.open(quick_model())
    for graph in wanted_graphs(model, [FRAME, (640, 480)], with_matching=True):
        assert list(refused_by_tensorrt(graph)) == [], graph.graph.name


def test_what_the_parser_lacks_would_be_found() -> None:
    model = ModelFolder.open(quick_model())
    (graph,) = wanted_graphs(model, [FRAME], with_matching=False)
    next(node for node in graph.graph.node if node.op_type == 'Floor').op_type = 'Hardmax'
    graph.opset_import[0].version = 23
    said = ' '.join(refused_by_tensorrt(graph))
    assert 'Hardmax is no operator' in said
    assert 'operators of ONNX 23' in said
    eight_bit = onnx.load(
        str(next(quick_model(precision=Precision.INT8).glob('*_encoder.onnx'))),
        load_external_data=False,
    )
    assert 'DynamicQuantizeLinear is no operator' in ' '.join(refused_by_tensorrt(eight_bit))


def test_the_files_do_what_an_engine_does_on_the_processor(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(quick_model(), tmp_path / 'model'))
    model = ModelFolder.open(folder)
    paths = write_graphs(model, wanted_graphs(model, [FRAME], with_matching=True))
    assert [path.relative_to(folder).as_posix() for path in paths] == [
        f'{FOLDER}/preprocess_160x120_112x84.onnx',
        f'{FOLDER}/matching_84x112_84x112.onnx',
    ]
    prepare, match = (onnxruntime.InferenceSession(str(path)) for path in paths)
    with ProcessorEngine(settings(folder)) as engine:
        grids = [engine.prepare(View(image)) for image in pictures()]
        for grid, image in zip(grids, pictures(), strict=True):
            (made,) = prepare.run(None, {'frame': image[None]})
            np.testing.assert_array_equal(made[0], grid.image)
        one, two = engine.encode(grids)
        shapes = ((84, 112), (84, 112))
        tokens = {'tokens_1': one.tokens, 'tokens_2': two.tokens}
        values = {**tokens, **engine._stage('decoder', *shapes, tokens, {})}
        raw = {
            head: engine._stage(head, *shapes, values, {})[head].numpy()
            for head in ('descriptors_1', 'descriptors_2')
        }
        result = engine.infer(*pictures())
    assert result.desc_1 is not None
    assert result.desc_2 is not None
    wanted = fast_reciprocal_matches(result.desc_1, result.desc_2, subsample=8)
    names = [item.name for item in match.get_outputs()]
    found = dict(zip(names, match.run(None, raw), strict=True))
    pixels_1, pixels_2 = settled_matches(MatchingPlan(*shapes, raw=True), found)
    assert len(pixels_1) > 100
    for pixels, places in zip((pixels_1, pixels_2), wanted, strict=True):
        np.testing.assert_array_equal(pixels, places[:, 1] * 112 + places[:, 0])


def test_core_ml_packages_of_them_compute_the_same(tmp_path: Path) -> None:
    pytest.importorskip('coremltools', reason='needs coremltools')
    from coreml_graph import PackageProgram

    from mast3r_ros.export.accelerator_graphs import write_packages

    folder = Path(shutil.copytree(quick_model(), tmp_path / 'model'))
    model = ModelFolder.open(folder)
    graphs = wanted_graphs(model, [FRAME], with_matching=True)
    prepare, match = (PackageProgram(path) for path in write_packages(model, graphs))
    assert {kind for kind, _ in prepare.operators} <= {
        *('add', 'cast', 'floor', 'matmul', 'maximum', 'minimum', 'mul', 'reshape'),
        *('slice_by_index', 'transpose'),
    }
    assert {kind for kind, _ in match.operators} <= {
        *('cast', 'concat', 'gather', 'matmul', 'maximum', 'mul', 'real_div', 'reduce_argmax'),
        *('reduce_sum', 'reshape', 'slice_by_index', 'sqrt', 'transpose'),
    }
    assert max(prepare.largest_rank, match.largest_rank) <= 5
    assert prepare.spec.description.input[0].type.WhichOneof('Type') == 'imageType'
    exact, reference = (onnxruntime.InferenceSession(item.SerializeToString()) for item in graphs)
    frame = pictures()[0][None]
    planes = np.ascontiguousarray(frame.transpose(0, 3, 1, 2), np.float32)
    (wanted,) = exact.run(None, {'frame': frame})
    np.testing.assert_array_equal(prepare.answer({'frame': planes})['image'], wanted)
    rng = np.random.default_rng(4)
    raw = {
        f'descriptors_{view}': rng.standard_normal((1, 84, 112, 25)).astype(np.float32)
        for view in (1, 2)
    }
    names = [item.name for item in reference.get_outputs()]
    answers = dict(zip(names, reference.run(None, raw), strict=True))
    found = match.answer(raw)
    for name, pixels in answers.items():
        np.testing.assert_array_equal(found[name], pixels)


def test_the_command_writes_them_beside_a_new_or_an_old_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = save_small_checkpoint(tmp_path / 'small.pth')
    words = ['--checkpoint', str(checkpoint), '--size', '48x32', '--made-up']
    words += ['--output', str(tmp_path / 'model')]
    assert main([*words, '--json', '--with-preprocessing', '64x48']) == 0
    (path,) = json.loads(capsys.readouterr().out)['accelerator']
    assert Path(path) == tmp_path / 'model' / FOLDER / 'preprocess_64x48_48x32.onnx'
    assert main([*words, '--with-preprocessing', '128x96']) == 0
    assert 'for accelerators: ' in capsys.readouterr().out
    assert len(list((tmp_path / 'model' / FOLDER).iterdir())) == 2
    assert main([*words, '--with-preprocessing', '60x30']) == 1
    assert 'a picture of 60x30 becomes none of the sizes' in capsys.readouterr().err
    assert main([*words, '--with-matching']) == 1
    assert 'has no descriptors, so there is nothing to match' in capsys.readouterr().err
    assert main(['--target', 'tensorrt', '--with-matching']) == 1
    assert 'write the graphs for accelerators without --target' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'sentence'),
    [
        (['--with-preprocessing', '60x30'], 'a picture of 60x30 becomes none of the sizes of'),
        (['--with-matching'], 'has no descriptors, so there is nothing to match'),
    ],
)
def test_what_cannot_be_made_is_said_before_a_new_model_is_exported(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = save_small_checkpoint(tmp_path / 'small.pth')
    start = ['--checkpoint', str(checkpoint), '--size', '48x32', '--made-up']
    assert main([*start, '--output', str(tmp_path / 'model'), *words]) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / 'model').exists()


def test_a_size_that_no_picture_becomes_is_named() -> None:
    with pytest.raises(InvalidInput, match=r'160x90 becomes none .* which has 112x84; export'):
        wanted_graphs(ModelFolder.open(quick_model()), [(160, 90)], with_matching=False)
