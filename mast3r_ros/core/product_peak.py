# SPDX-License-Identifier: Apache-2.0
"""How fast this machine multiplies matrices in float32: what an engine's speed is held against."""

from __future__ import annotations

import time

import numpy as np

_SIDE = 1536  # large enough for every BLAS to reach its best, small enough for a tenth of a second
_ROUNDS = 7


def measured_peak() -> float:
    """Return floating-point operations a second of NumPy's product, on all threads it takes."""
    rng = np.random.default_rng(0)
    left, right = rng.random((2, _SIDE, _SIDE), np.float32)
    product = left @ right
    best_s = np.inf
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        np.matmul(left, right, out=product)
        best_s = min(best_s, time.perf_counter() - start)
    return 2.0 * _SIDE**3 / best_s
