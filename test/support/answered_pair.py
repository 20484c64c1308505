# SPDX-License-Identifier: Apache-2.0
"""A stereo pair and a walk along a wall, and what a pair processor makes of an oracle on them."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from support.oracle_engine import EXACT, OracleEngine
from support.scene import Scene, Shot, stereo_shots, walk

from mast3r_ros.config import MatchingConfig, ModelConfig, PairingConfig, PipelineConfig
from mast3r_ros.core.pair_processor import PairProcessor
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.poses import stereo_pose
from mast3r_ros.core.products import PairResult, Product

SCENE = Scene()


@cache
def rig() -> tuple[Shot, Shot]:
    return stereo_shots(SCENE, width=200, height=150)


@cache
def strolled() -> list[Shot]:
    return walk(SCENE, 9, width=96)


def oracle(**options: Any) -> OracleEngine:
    options.setdefault('errors', EXACT)
    model = ModelConfig(resolution=140)
    return OracleEngine(model, **options).register_shots([*rig(), *strolled()])


def stereo_pair(
    mask_1: NDArray[np.bool_] | None = None,
    mask_2: NDArray[np.bool_] | None = None,
    *,
    calibrated: bool = True,
) -> ViewPair:
    left, right = rig()
    pose = stereo_pose(left.camera, right.camera) if calibrated else None
    return ViewPair(left.view(mask=mask_1, stamp_ns=5), right.view(mask=mask_2, stamp_ns=5), pose)


def processor(stride: int | None = None, **groups: Any) -> PairProcessor:
    pairing = {'mode': 'sequence', 'stride': stride} if stride else {}
    groups.setdefault('matching', MatchingConfig(subsample=4))
    return PairProcessor(PipelineConfig(pairing=PairingConfig(**pairing), **groups))


def answered(
    wanted: Product = Product.ALL, pair: ViewPair | None = None, **options: Any
) -> PairResult:
    groups = {name: options.pop(name) for name in ('cloud', 'matching') if name in options}
    return processor(**groups).process(oracle(**options), pair or stereo_pair(), wanted)


def true_depth(result: PairResult) -> NDArray[np.float64]:
    """Return the scene's depth at the pixels of grid 1."""
    grid, left = result.cloud_1.grid, rig()[0]
    u, v = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    uv = grid.to_image(np.stack([u, v], -1).reshape(-1, 2))
    depth = SCENE.surface_at(left.camera, left.T_camera_world, uv)[:, 2]
    return depth.reshape(grid.height, grid.width)
