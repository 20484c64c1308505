# SPDX-License-Identifier: Apache-2.0
"""The least time that a network can take here: its work at the best speed of this processor."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from mast3r_ros.core.results import Output
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.work import pair_work

# Rows and channels of the products, like those of the networks, one after another.
_ROWS, _CHANNELS, _PRODUCTS = 1152, 768, 12
_ROUNDS = 8


def measured_peaks(threads: int) -> dict[str, float]:
    """Return operations a second of matrix products in fp32, bf16 and int8, as OpenVINO has them.

    A processor without bfloat16 has the figure of float32 there.
    """
    return {kind: _peak(kind, threads) for kind in ('fp32', 'bf16', 'int8')}


def least_ms(
    architecture: Architecture,
    shape: tuple[int, int],
    outputs: Output,
    precision: str,
    peaks: Mapping[str, float],
) -> float:
    """Return the milliseconds of a pair if every product ran at its peak and all else were free.

    An int8 network has convolutions in bfloat16 still; all its other products count as eight-bit.
    """
    work = pair_work(architecture, shape, shape)
    if not outputs & Output.CLOUD_2:
        work['points'] //= 2
    if not outputs & (Output.CLOUD_1 | Output.CLOUD_2):
        del work['points']
    if not outputs & Output.DESC:
        del work['descriptors']
    seconds = sum(
        flops / peaks['bf16' if (precision, stage) == ('int8', 'points') else precision]
        for stage, flops in work.items()
    )
    return seconds * 1e3


def _peak(kind: str, threads: int) -> float:
    import openvino

    properties = {
        'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_NUM_THREADS': threads,
        'INFERENCE_PRECISION_HINT': 'f32' if kind == 'fp32' else 'bf16',
    }
    core = openvino.Core()
    if 'BF16' not in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES'):
        properties['INFERENCE_PRECISION_HINT'] = 'f32'
    request = core.compile_model(_products(kind), 'CPU', properties).create_infer_request()
    given = np.random.default_rng(0).standard_normal((_ROWS, _CHANNELS), np.float32)
    request.infer([given])
    best_s = np.inf
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        request.infer([given])
        best_s = min(best_s, time.perf_counter() - start)
    return 2.0 * _ROWS * _CHANNELS**2 * _PRODUCTS / best_s


def _products(kind: str) -> Any:
    """Return a model that multiplies by one square matrix after another."""
    import openvino
    from openvino import opset13 as ops

    rng = np.random.default_rng(0)
    given = value = ops.parameter([_ROWS, _CHANNELS], np.float32)
    for _ in range(_PRODUCTS):
        if kind == 'int8':
            limit = np.float32(3.0)
            value = ops.fake_quantize(value, -limit, limit, -limit, limit, 256)
            weight = ops.constant(rng.integers(-127, 128, (_CHANNELS, _CHANNELS)).astype(np.int8))
            scale = np.full((_CHANNELS, 1), 5e-4, np.float32)
            weight = ops.multiply(ops.convert(weight, 'f32'), scale)
        else:
            weight = ops.constant(rng.standard_normal((_CHANNELS, _CHANNELS), np.float32) * 0.04)
        value = ops.matmul(value, weight, False, True)
    return openvino.Model([value], [given])
