# SPDX-License-Identifier: Apache-2.0
"""Bench rows of the networks: DUNE small at 336x336 with made-up weights, engine by engine."""

from __future__ import annotations

from collections.abc import Iterator

from network_case import NEEDED, NetworkCase
from network_rows import network_rows
from side_by_side import Missing, Row

SHAPE = (336, 336)
NEEDS = NEEDED
NAME = 'DUNE small 336x336'

# What bfloat16 and eight bits are to reach, on a processor that multiplies both by itself.
GOALS = {
    ('OpenVINO bf16', 'cloud and matches'): 6.0,
    ('OpenVINO bf16', 'matches alone'): 8.5,
    ('OpenVINO int8', 'cloud and matches'): 9.0,
    ('OpenVINO int8', 'matches alone'): 12.0,
}


def rows() -> Iterator[Row | Missing]:
    """Measure all engines in turn, then give one row after another."""
    print('  (writes model folders of 3 GB under build/ once)', flush=True)
    yield from network_rows(NetworkCase('networks', NAME, 'dune_small', SHAPE, GOALS))
