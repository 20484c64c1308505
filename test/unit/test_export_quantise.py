# SPDX-License-Identifier: Apache-2.0
"""Weights in eight bits: every channel keeps its own range."""

from __future__ import annotations

import numpy as np

from mast3r_ros.export.quantise import quantise


def test_every_column_is_within_half_a_step_of_its_own_range() -> None:
    rng = np.random.default_rng(0)
    ranges = np.geomspace(1e-6, 1e3, 600)
    weight = (rng.standard_normal((300, 600)) * ranges).astype(np.float32)
    whole, scale = quantise(weight)
    assert whole.dtype == np.int8
    step = np.abs(weight).max(axis=0) / 127
    assert np.all(np.abs(whole * scale - weight).max(axis=0) <= 0.501 * step)


def test_a_column_of_zeros_stays_zero() -> None:
    weight = np.zeros((8, 3), np.float32)
    weight[:, 1] = 2.0
    whole, scale = quantise(weight)
    assert np.isfinite(scale).all()
    assert np.array_equal(whole * scale, weight)
