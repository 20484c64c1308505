# SPDX-License-Identifier: Apache-2.0
"""The number format of a network's trunk."""

from __future__ import annotations

import torch

from mast3r_ros.choices import Precision
from mast3r_ros.errors import InvalidInput
from mast3r_ros.models.networks.layers import Linear
from mast3r_ros.models.networks.stages import Stages

_TRUNK = {
    Precision.FP32: torch.float32,
    Precision.FP16: torch.float16,
    Precision.BF16: torch.bfloat16,
    Precision.INT8_FP16: torch.float16,  # what is left of it
}


def to_precision(stages: Stages, precision: Precision) -> Stages:
    """Convert the products of encoders and decoder in place, and return the stages.

    Norms, softmax in graphs, the sums that blocks add to, and all heads stay float32. The tokens
    between the stages are float16 with ``fp16`` and float32 otherwise.
    """
    if precision not in _TRUNK:
        raise InvalidInput(
            f'precision = {precision.value} is no number format of a PyTorch network; '
            f'use {", ".join(each.value for each in _TRUNK)}'
        )
    trunk = _TRUNK[precision]
    tokens = torch.float16 if trunk is torch.float16 else torch.float32
    for stage in {stages.encoder_1, stages.encoder_2, stages.decoder}:
        for module in stage.modules():
            if isinstance(module, Linear):
                module.to(trunk)
        for name, table in stage.named_buffers(remove_duplicate=False):
            if name.startswith('baked_rope'):
                setattr(stage, name, table.to(trunk))
        stage.token_dtype = tokens
    return stages
