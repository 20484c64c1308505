# SPDX-License-Identifier: Apache-2.0
"""Bench rows of the node: what it adds to an engine's own work, over real DDS, to real listeners.

From rclpy handing over the second image to the last publish returning, less the engine's stages.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from side_by_side import Missing, Row

HERE = Path(__file__).resolve().parent
NAME = 'added to the engine, 640x480 to 512x384'
PAIRS = 60  # each way
PAIRS_PER_S = 10.0
GOAL_MS, GOAL_OUTSIDE_MS = 10.0, 4.0  # in all; without rclpy's own publish
TIMEOUT_S = 150.0

Times = NDArray[np.float64]  # of each pair, in ms


def rows() -> Iterator[Row | Missing]:
    """Measure one row after another."""
    if importlib.util.find_spec('rclpy') is None:
        yield Missing('node', NAME, 'needs ROS 2')
        return
    yield from _rows(NAME, {})
    profile = str(HERE.parents[1] / 'config' / 'fastdds.xml')
    from mast3r_ros.ros.dds_profile import profile_variable

    yield from _rows(f'{NAME}, with config/fastdds.xml', {profile_variable(): profile})


def _rows(name: str, variables: dict[str, str]) -> Iterator[Row | Missing]:
    times = _measure(variables)
    if not times['ours'] or not times['usual']:
        yield Missing('node', name, 'the node answered no pair')
        return
    ours, usual = (np.array(times[way]) for way in ('ours', 'usual'))  # (added, publishing) ms
    yield _row(name, ours[:, 0], usual[:, 0], GOAL_MS)
    yield _row(
        f"{name}, without rclpy's publish",
        ours[:, 0] - ours[:, 1],
        usual[:, 0] - usual[:, 1],
        GOAL_OUTSIDE_MS,
    )


def _row(name: str, ours_ms: Times, usual_ms: Times, goal_ms: float) -> Row:
    count = min(len(ours_ms), len(usual_ms))
    ratios = usual_ms[:count] / ours_ms[:count]
    return Row(
        'node',
        name,
        float(np.median(ours_ms)),
        'bridge-like copies, create_cloud-like, lists',
        float(np.median(usual_ms)),
        float(np.median(ratios)),
        float(ratios.min()),
        float(ratios.max()),
        {'p90_ms': float(np.quantile(ours_ms, 0.9)), 'pairs': count},
        goal_ms=goal_ms,
    )


def _measure(variables: dict[str, str]) -> dict[str, list[list[float]]]:
    """Return added and publishing milliseconds of each pair, ours and the usual way."""
    environment = {
        **os.environ,
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_DOMAIN_ID': str(1 + os.getpid() % 100),
        **variables,
    }
    peers = subprocess.Popen(
        [sys.executable, str(HERE / 'node_peers.py'), str(PAIRS_PER_S)], env=environment
    )
    try:
        answer = subprocess.run(
            [sys.executable, str(HERE / 'node_probe.py'), str(PAIRS)],
            env=environment,
            check=True,
            stdout=subprocess.PIPE,
            timeout=TIMEOUT_S,
        ).stdout
    finally:
        peers.terminate()  # killed, it would leave its shared memory behind
        peers.wait()
    times: dict[str, list[list[float]]] = json.loads(answer.splitlines()[-1])
    return times
