# SPDX-License-Identifier: Apache-2.0
"""In half precision only the products of the trunk are halved, and answers stay close."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch')

from support.network_runs import (  # noqa: E402  # it needs PyTorch
    SMALL,
    inputs_of,
    picture,
    relative_error,
    run_raw,
    seeded_stages,
)

from mast3r_ros.choices import Precision  # noqa: E402
from mast3r_ros.errors import InvalidInput  # noqa: E402
from mast3r_ros.models.networks.layers import LayerNorm, Linear  # noqa: E402
from mast3r_ros.models.networks.precision import to_precision  # noqa: E402

HALVES = {Precision.FP16: torch.float16, Precision.BF16: torch.bfloat16}
WORST = {Precision.FP16: 5e-3, Precision.BF16: 4e-2}


def shape_of(family: str) -> tuple[int, int]:
    side = SMALL[family].patch_px
    return 2 * side, 3 * side


@pytest.mark.parametrize('precision', HALVES, ids=lambda each: each.value)
@pytest.mark.parametrize('family', SMALL)
def test_answers_stay_close_to_those_in_float32(family: str, precision: Precision) -> None:
    shape = shape_of(family)
    images = picture(shape), picture(shape, 1)
    exact = run_raw(seeded_stages(SMALL[family], shape), *images)
    halved = run_raw(to_precision(seeded_stages(SMALL[family], shape), precision), *images)
    for name, array in exact.items():
        assert 0.0 < relative_error(halved[name], array) < WORST[precision]


@pytest.mark.parametrize('precision', HALVES, ids=lambda each: each.value)
def test_products_of_the_trunk_are_halved_and_nothing_else(precision: Precision) -> None:
    stages = to_precision(seeded_stages(SMALL['mast3r'], (32, 48), (48, 32)), precision)
    for name, stage in stages.named().items():
        trunk = name in ('encoder_1', 'encoder_2', 'decoder')
        for module in stage.modules():
            if isinstance(module, (Linear, torch.nn.Conv2d, LayerNorm)):
                halved = trunk and isinstance(module, Linear)
                expected = HALVES[precision] if halved else torch.float32
                assert module.weight.dtype == expected
                assert module.bias is None or module.bias.dtype == expected


@pytest.mark.parametrize(
    ('precision', 'dtype'),
    [
        (Precision.FP32, torch.float32),
        (Precision.FP16, torch.float16),
        (Precision.BF16, torch.float32),
    ],
    ids=lambda each: str(each),
)
def test_tokens_between_stages_have_the_agreed_type(precision: Precision, dtype) -> None:
    stages = to_precision(seeded_stages(SMALL['mast3r'], (32, 48)), precision)
    inputs = inputs_of(stages, picture((32, 48)), picture((32, 48), 1))
    for name in ('decoder', 'points_1', 'points_2', 'descriptors_1', 'descriptors_2'):
        assert {tensor.dtype for tensor in inputs[name]} == {dtype}


def test_a_format_that_pytorch_does_not_run_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match=r'precision = int8 .* use fp32, fp16, bf16'):
        to_precision(seeded_stages(SMALL['dust3r_linear'], (32, 48)), Precision.INT8)
