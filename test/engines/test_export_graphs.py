# SPDX-License-Identifier: Apache-2.0
"""What every engine may rely on in an exported graph, and that a breach of it is found."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')

import onnx
from onnx import helper, numpy_helper
from seeded_weights import seeded_state_dict
from tiny_model import QUICK, quick_model

from mast3r_ros.config import Precision
from mast3r_ros.errors import ModelError
from mast3r_ros.export.graph_checks import check_graph, faults
from mast3r_ros.export.graph_files import places_in
from mast3r_ros.models.folder import ModelFolder
from mast3r_ros.models.weights_sample import sample_digest

# Everything that the graphs are made of; all of it is in opset 18 and in every engine.
PLAIN = {
    *('Add', 'Cast', 'Concat', 'Conv', 'Div', 'Erf', 'Expand', 'Gather', 'LayerNormalization'),
    *('MatMul', 'Mul', 'Relu', 'Reshape', 'Resize', 'Slice', 'Softmax', 'Split', 'Squeeze'),
    *('Sub', 'Transpose', 'Unsqueeze'),
}
EIGHT_BIT = {'DynamicQuantizeLinear', 'MatMulInteger'}
BLOCKS = 2 * QUICK.dec_depth  # of the decoder, both views


def graphs(precision: Precision) -> dict[str, onnx.ModelProto]:
    """Return the graphs of a small network by the names of their stages."""
    folder = quick_model(precision=precision)
    return {
        path.stem.partition('_')[2]: onnx.load(path, load_external_data=False)
        for path in folder.glob('*.onnx')
    }


@pytest.fixture(params=[Precision.FP32, Precision.FP16, Precision.INT8])
def model(request: pytest.FixtureRequest) -> tuple[dict[str, onnx.ModelProto], Precision]:
    return graphs(request.param), request.param


def test_graphs_are_plain_and_static(model) -> None:
    found, precision = model
    assert len(found) == 6
    for name, graph in found.items():
        allowed = PLAIN | (EIGHT_BIT if precision is Precision.INT8 else set())
        assert {node.op_type for node in graph.graph.node} <= allowed, name
        assert {entry.domain: entry.version for entry in graph.opset_import} == {'': 18}
        inferred = onnx.shape_inference.infer_shapes(graph, strict_mode=True)
        assert faults(inferred) == [], name
        for value in [*graph.graph.input, *graph.graph.output]:
            assert all(side.dim_value > 0 for side in value.type.tensor_type.shape.dim)


def test_every_weight_lies_in_the_one_file_and_none_in_a_graph(model) -> None:
    for name, graph in model[0].items():
        for tensor in graph.graph.initializer:
            _, dot, last = tensor.name.rpartition('.')
            is_weight = bool(dot) and not last.startswith('baked')
            assert bool(tensor.external_data) == is_weight, (name, tensor.name)


def test_constants_are_in_a_graph_once(model) -> None:
    for name, graph in model[0].items():
        constants = [
            (tensor.data_type, tuple(tensor.dims), numpy_helper.to_array(tensor).tobytes())
            for tensor in graph.graph.initializer
            if not tensor.external_data
        ]
        assert len(set(constants)) == len(constants), name


def test_no_byte_of_the_weights_is_there_twice() -> None:
    folder = ModelFolder.open(quick_model())
    places = sorted(places_in(folder.path.glob('*.onnx')).values(), key=lambda place: place.offset)
    for place, following in pairwise(places):
        assert place.offset + place.length <= following.offset
    used = sum(place.length for place in places)
    assert used <= folder.description.weights.bytes <= used + 4096 * len(places)


def test_an_export_says_how_to_tell_its_weights_from_others() -> None:
    folder = ModelFolder.open(quick_model())
    assert folder.description.weights.sample == sample_digest(folder.weights_path)


def test_weights_lie_in_the_order_in_which_a_pair_passes_them() -> None:
    folder = ModelFolder.open(quick_model())
    shape = folder.description.shapes[0]
    ends = []
    for stage in ('encoder', 'decoder', 'points_1', 'descriptors_2'):
        places = places_in([folder.stage_path(stage, shape)])
        ends += [
            min(place.offset for place in places.values()),
            max(place.offset for place in places.values()),
        ]
    assert ends == sorted(ends)


def test_norms_stay_whole_and_gelu_is_in_the_order_that_runtimes_fuse() -> None:
    decoder = graphs(Precision.FP32)['decoder']
    kinds = [node.op_type for node in decoder.graph.node]
    assert kinds.count('LayerNormalization') == 4 * BLOCKS + 2
    constants = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in decoder.graph.initializer
        if not tensor.external_data
    }
    makers = {node.output[0]: node for node in decoder.graph.node}
    users = {name: node for node in decoder.graph.node for name in node.input}
    erfs = [node for node in decoder.graph.node if node.op_type == 'Erf']
    assert len(erfs) == BLOCKS
    for erf in erfs:
        divided = makers[erf.input[0]]
        assert divided.op_type == 'Div'
        assert constants[divided.input[1]] == pytest.approx(2**0.5)
        product = users[users[erf.output[0]].output[0]]
        assert {product.op_type, users[product.output[0]].op_type} == {'Mul'}
        assert divided.input[0] in product.input
        assert float(constants[users[product.output[0]].input[1]]) == 0.5


def test_tokens_between_the_stages_have_the_type_of_the_precision() -> None:
    for precision, kind in ((Precision.FP32, 'float32'), (Precision.FP16, 'float16')):
        for name, graph in graphs(precision).items():
            for value in [*graph.graph.input, *graph.graph.output]:
                found = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
                expected = {'image': 'uint8'}.get(value.name, kind)
                if value.name.startswith(('points', 'descriptors')):
                    expected = 'float32'
                assert found == expected, (name, value.name)


def test_half_precision_keeps_norms_and_softmax_in_float32() -> None:
    for graph in graphs(Precision.FP16).values():
        inferred = onnx.shape_inference.infer_shapes(graph, strict_mode=True).graph
        kinds = {
            value.name: value.type.tensor_type.elem_type
            for value in [*inferred.value_info, *inferred.input, *inferred.output]
        }
        for node in inferred.node:
            if node.op_type in ('LayerNormalization', 'Softmax', 'Conv', 'Resize'):
                assert kinds[node.output[0]] == onnx.TensorProto.FLOAT, node.name


def test_eight_bits_hold_the_products_of_the_trunk_and_not_those_that_make_the_answer() -> None:
    found = graphs(Precision.INT8)
    weights = {tensor.name for tensor in found['decoder'].graph.initializer}
    assert 'dec_blocks.0.mlp.fc1.weight.int8' in weights
    assert not any(name.endswith('.mlp.fc1.weight') for name in weights)
    assert not EIGHT_BIT & {node.op_type for node in found['points_2'].graph.node}
    head = found['descriptors_1']
    last = {tensor.name for tensor in head.graph.initializer if 'fc2.weight' in tensor.name}
    assert last == {'downstream_head1.head_local_features.fc2.weight.transposed'}


@pytest.mark.parametrize('precision', [Precision.FP32, Precision.BF16])
def test_weights_of_products_lie_in_the_file_as_openvino_takes_them(precision: Precision) -> None:
    for stage, graph in graphs(precision).items():
        stored = {tensor.name: tensor for tensor in graph.graph.initializer}
        made_by = {name: node for node in graph.graph.node for name in node.output}
        with_weights = [
            made_by[node.input[1]].input[0]
            for node in graph.graph.node
            if node.op_type == 'MatMul' and made_by[node.input[1]].input[0] in stored
        ]
        assert with_weights
        for name in with_weights:
            assert name.endswith('.weight.transposed'), (stage, name)
    fc1 = 'dec_blocks.0.mlp.fc1.weight'
    published = seeded_state_dict(QUICK, 11)
    (rows,) = (values for name, values in published.items() if name.endswith(fc1))
    decoder = {tensor.name: tensor for tensor in graphs(precision)['decoder'].graph.initializer}
    assert tuple(decoder[f'{fc1}.transposed'].dims) == rows.shape  # (out, in)


def write(path: Path, nodes, shape=(1, 4), constants=()) -> Path:
    kind = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        'graph',
        [helper.make_tensor_value_info('x', kind, shape)],
        [helper.make_tensor_value_info('y', kind, shape)],
        [numpy_helper.from_array(values, name) for name, values in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=10)
    path.write_bytes(model.SerializeToString())
    return path


WEIGHT = ('weight', np.eye(4, dtype=np.float32))


@pytest.mark.parametrize(
    ('nodes', 'shape', 'words'),
    [
        (
            [
                helper.make_node('Transpose', ['weight'], ['t']),
                helper.make_node('MatMul', ['x', 't'], ['y']),
            ],
            (1, 4),
            'Transpose of the weight weight',
        ),
        ([helper.make_node('MatMul', ['x', 'weight'], ['y'])], ('rows', 4), 'no fixed shape for'),
        (
            [
                helper.make_node('Shape', ['x'], ['s']),
                helper.make_node('Expand', ['x', 's'], ['y']),
            ],
            (1, 4),
            'operator Shape',
        ),
        ([helper.make_node('NoSuchThing', ['x'], ['y'])], (1, 4), 'not valid ONNX'),
    ],
)
def test_a_graph_that_breaks_the_rules_is_refused(nodes, shape, words, tmp_path: Path) -> None:
    path = write(tmp_path / 'graph.onnx', nodes, shape, [WEIGHT])
    with pytest.raises(ModelError, match=words):
        check_graph(path)


def test_a_graph_that_keeps_them_passes(tmp_path: Path) -> None:
    nodes = [helper.make_node('MatMul', ['x', 'weight'], ['y'])]
    check_graph(write(tmp_path / 'graph.onnx', nodes, constants=[WEIGHT]))
