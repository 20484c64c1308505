# SPDX-License-Identifier: Apache-2.0
"""Which model folder OpenVINO runs, and in which number format."""

from __future__ import annotations

from mast3r_ros.config import MASt3RRuntimeConfig, Precision
from mast3r_ros.errors import EngineUnavailable, ModelError, ModelNotFound
from mast3r_ros.models.folder import ModelFolder, find_model

_NAME = 'openvino'


def choose_model(config: MASt3RRuntimeConfig, has_bf16: bool) -> tuple[ModelFolder, Precision]:
    """Return the model of the settings and the precision in which it is run.

    A float32 model runs in bfloat16 as well: its weights are rounded when it is loaded. It takes
    more memory then than a model that was exported so.

    :param has_bf16: whether the processor multiplies bfloat16 by itself.
    """
    wanted = config.model.precision
    if wanted is Precision.BF16:
        return _in_bf16(config, has_bf16)
    rounded = (Precision.BF16,) if has_bf16 else ()
    model = find_model(config, _NAME, (Precision.INT8, *rounded, Precision.FP32))
    precision = model.description.precision
    if wanted is Precision.AUTO and precision is Precision.FP32 and has_bf16:
        precision = Precision.BF16
    return model, precision


def _in_bf16(config: MASt3RRuntimeConfig, has_bf16: bool) -> tuple[ModelFolder, Precision]:
    if not has_bf16:
        raise EngineUnavailable(
            'this processor has no bfloat16 (avx512_bf16 or AMX), and without it bf16 is slower '
            'than fp32; set model.precision to fp32, int8 or auto'
        )
    try:
        return find_model(config, _NAME, (Precision.BF16,)), Precision.BF16
    except (ModelError, ModelNotFound) as error:
        whole = config.replace(model=config.model.replace(precision=Precision.FP32))
        try:
            return find_model(whole, _NAME, (Precision.FP32,)), Precision.BF16
        except (ModelError, ModelNotFound):
            raise error from None
