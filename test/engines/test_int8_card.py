# SPDX-License-Identifier: Apache-2.0
"""Eight bits for cards: whole numbers around float16 products, as TensorRT's parser takes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

import onnx
import onnx_ir as ir
from network_engines import pictures, relative_error, settings
from small_export import export_small, small_source
from tensorrt_parser import refused_by_tensorrt
from tensorrt_world import simulated_world
from tiny_model import quick_model

from mast3r_ros.config import Precision
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine
from mast3r_ros.errors import EngineUnavailable, InvalidInput
from mast3r_ros.export.card_int8 import quantise_for_cards
from mast3r_ros.export.exporter import ExportRequest

HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


@pytest.fixture(scope='module')
def folder() -> Path:
    return quick_model(precision=Precision.INT8_FP16, calibrated=True)


@pytest.mark.parametrize('stage', ['encoder', 'decoder'])
def test_every_product_with_weights_is_in_eight_bits_and_the_rest_in_float16(
    stage: str, folder: Path
) -> None:
    model = onnx.load(str(next(folder.glob(f'*_{stage}.onnx'))), load_external_data=False)
    assert list(refused_by_tensorrt(model)) == []
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    kinds = {item.name: item.data_type for item in graph.initializer}
    for item in (*graph.input, *graph.value_info, *graph.output):
        kinds[item.name] = item.type.tensor_type.elem_type
    makers = {name: node for node in graph.node for name in node.output}
    products = [node for node in graph.node if node.op_type == 'MatMul']
    eight_bit = []
    for node in products:
        assert {kinds[name] for name in node.input} == {HALF}
        sources = [makers[name].op_type for name in node.input]
        if 'DequantizeLinear' in sources:
            assert sources == ['DequantizeLinear'] * 2
            eight_bit.append(node)
    blocks = 1 if stage == 'encoder' else 8
    assert len(products) - len(eight_bit) == 2 * blocks * (
        1 if stage == 'encoder' else 2
    )  # scores
    assert len(eight_bit) >= 4 * blocks
    for node in graph.node:
        if node.op_type in ('QuantizeLinear', 'DequantizeLinear'):
            assert kinds[node.input[1]] == HALF
        if node.op_type in ('LayerNormalization', 'Softmax'):
            assert kinds[node.input[0]] == FLOAT


def test_heads_stay_as_they_are(folder: Path) -> None:
    for path in folder.glob('*_[pd]*_[12].onnx'):
        model = onnx.load(str(path), load_external_data=False)
        assert not any('Quantize' in node.op_type for node in model.graph.node), path.name


def test_it_answers_about_as_float32_on_a_simulated_card(folder: Path, tmp_path: Path) -> None:
    with ProcessorEngine(settings(quick_model())) as reference:
        wanted = reference.infer(*pictures())
    with simulated_world(tmp_path) as world, TensorRtEngine(world.settings(folder)) as engine:
        assert engine.describe().precision == 'int8_fp16'
        found = engine.infer(*pictures())
    assert 1e-4 < relative_error(found.pts3d_1, wanted.pts3d_1) < 0.05
    assert relative_error(found.desc_1, wanted.desc_1) < 0.08


def product(weight: np.ndarray) -> ir.Model:
    """Return a graph of one float16 product."""
    rows = onnx.helper.make_tensor_value_info('rows', HALF, (1, 64, weight.shape[0]))
    made = onnx.helper.make_tensor_value_info('made', HALF, (1, 64, weight.shape[1]))
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node('MatMul', ['rows', 'weight'], ['made'], 'product')],
        'one',
        [rows],
        [made],
        [onnx.numpy_helper.from_array(weight.astype(np.float16), 'weight')],
    )
    opset = onnx.helper.make_opsetid('', 18)
    return ir.from_proto(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=10))


@pytest.mark.parametrize(('kept_out', 'operators'), [(False, 5), (True, 1)])
def test_a_product_that_would_lose_too_much_stays_in_float16(
    kept_out: bool, operators: int
) -> None:
    """One value in a thousand sticks out, of a channel that the weights do not use."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((16, 8)).astype(np.float32)
    rows = rng.standard_normal((1, 64, 16)).astype(np.float32)
    if kept_out:
        weight[3] = 0.0
        rows[0, 7, 3] = 6e4
    model = product(weight)
    names = quantise_for_cards(model, [{'rows': rows}], ['weight'], 'own')
    assert len(list(model.graph)) == operators
    stored = [f'own.weight.rows.half.{kind}' for kind in ('int8', 'scale')]
    assert names == (['weight'] if kept_out else stored)


def test_what_sticks_out_of_a_channel_is_moved_into_the_weights() -> None:
    rng = np.random.default_rng(1)
    weight = rng.standard_normal((16, 8)).astype(np.float32)
    rows = rng.standard_normal((1, 64, 16)).astype(np.float32)
    rows[..., 5] *= 100.0
    weight[5] *= 0.01
    model = product(weight)
    quantise_for_cards(model, [{'rows': rows}], ['weight'], 'own')
    import onnxruntime

    session = onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString())
    (found,) = session.run(None, {'rows': rows.astype(np.float16)})
    assert relative_error(found.astype(np.float32), rows @ weight) < 0.02


def test_it_needs_pictures(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match='int8_fp16 has its ranges from pictures'):
        export_small(tmp_path / 'model', precision=Precision.INT8_FP16)
    pair = (np.zeros((48, 64, 3), np.uint8),) * 2
    with pytest.raises(InvalidInput, match='only int8 is calibrated'):
        ExportRequest(small_source(), [], Precision.FP16, tmp_path, pictures=[pair])


def test_a_processor_s_engine_refuses_it(folder: Path) -> None:
    with pytest.raises(EngineUnavailable, match='is int8_fp16, and the onnxruntime engine runs'):
        ProcessorEngine(settings(folder))
