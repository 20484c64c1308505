# SPDX-License-Identifier: Apache-2.0
"""Each stage becomes a graph of plain operators whose weights keep their names and layout."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip('torch')
onnxruntime = pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')

from support.network_runs import (  # noqa: E402  # it needs PyTorch
    SMALL,
    inputs_of,
    picture,
    relative_error,
    seeded_stages,
)

from mast3r_ros.choices import Precision  # noqa: E402
from mast3r_ros.models.networks.precision import to_precision  # noqa: E402

# One of each kind; the stages that are missing are the same modules again.
CASES = [
    *(('mast3r', stage) for stage in ('encoder_1', 'decoder', 'points_1', 'descriptors_1')),
    ('dune', 'encoder_1'),
    ('dune', 'points_1'),
    ('dust3r_linear', 'points_1'),
]
PLAIN = {
    *('Add', 'Cast', 'Concat', 'Conv', 'Div', 'Erf', 'LayerNormalization', 'MatMul', 'Mul'),
    *('Relu', 'Reshape', 'Resize', 'Slice', 'Softmax', 'Split', 'Sub', 'Transpose'),
}


def graph_of(stage: Any, inputs: tuple[Any, ...]) -> Any:
    program = torch.onnx.export(stage, inputs, dynamo=True, opset_version=18, verbose=False)
    return program.model_proto


@torch.inference_mode()
def made(family: str, name: str, precision: Precision) -> tuple[Any, Any, Any]:
    """Return a stage, its inputs and its answers, on an odd grid."""
    side = SMALL[family].patch_px
    shape = (3 * side, 5 * side)
    stages = to_precision(seeded_stages(SMALL[family], shape), precision)
    inputs = inputs_of(stages, picture(shape), picture(shape, 1))[name]
    stage = stages.named()[name]
    answers = stage(*inputs)
    return stage, inputs, answers if isinstance(answers, tuple) else (answers,)


@pytest.mark.parametrize(('family', 'name'), CASES)
def test_a_graph_answers_as_its_stage_with_the_very_same_weights(family: str, name: str) -> None:
    stage, inputs, expected = made(family, name, Precision.FP32)
    model = graph_of(stage, inputs)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    feed = {
        port.name: value.numpy() for port, value in zip(model.graph.input, inputs, strict=True)
    }
    for answer, exact in zip(session.run(None, feed), expected, strict=True):
        assert relative_error(answer, exact) < 1e-5

    stored = {each.name: tuple(each.dims) for each in model.graph.initializer}
    parameters = {key: tuple(value.shape) for key, value in stage.named_parameters()}
    assert {key: stored.get(key) for key in parameters} == parameters
    assert {node.op_type for node in model.graph.node} <= PLAIN
    turned = {node.input[0] for node in model.graph.node if node.op_type == 'Transpose'}
    assert turned & set(stored) == set()


def test_a_graph_in_float16_answers_as_its_stage() -> None:
    stage, inputs, expected = made('mast3r', 'encoder_1', Precision.FP16)
    model = graph_of(stage, inputs)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=['CPUExecutionProvider']
    )
    (answer,) = session.run(None, {model.graph.input[0].name: inputs[0].numpy()})
    assert answer.dtype == 'float16'
    assert relative_error(answer, expected[0]) < 5e-3
