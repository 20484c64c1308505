# SPDX-License-Identifier: Apache-2.0
"""What a user of the pipeline can ask for and gets: cloud, confidence, matches."""

from __future__ import annotations

import enum
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.results import EngineInfo, FloatArray, Output
from mast3r_ros.core.scale import Scale
from mast3r_ros.core.views import Grid


class Product(enum.Flag):
    """Parts of an answer; nothing is computed that nobody asked for."""

    NOTHING = 0
    CLOUD_1 = enum.auto()
    """Points, depth and confidence of view 1."""
    CLOUD_2 = enum.auto()
    """Points and confidence of view 2."""
    MATCHES = enum.auto()
    """Matches in pixels of the input images."""
    ALL = CLOUD_1 | CLOUD_2 | MATCHES


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points on a view's grid, NaN where there is none, in the frame of camera 1."""

    grid: Grid
    points: FloatArray  # (H, W, 3), metres unless the scale's source is none
    confidence: FloatArray  # (H, W), from 1 (none) up

    @property
    def depth(self) -> FloatArray:
        """(H, W) the points' Z in the frame of camera 1."""
        return self.points[..., 2]


@dataclass(frozen=True, eq=False)
class Matches:
    """Matches in pixels of the two input images as they came."""

    uv_1: FloatArray  # (N, 2)
    uv_2: FloatArray  # (N, 2)
    confidence: FloatArray  # (N,)
    confidence_kind: str
    points: FloatArray | None  # (N, 3) view 1's points at the matches, where the cloud was made

    def __len__(self) -> int:
        return len(self.uv_1)


@dataclass(frozen=True, eq=False)
class PairResult:
    """Everything made of one pair; it carries view 1's stamp and frame."""

    pair: ViewPair
    cloud_1: Cloud | None
    cloud_2: Cloud | None
    matches: Matches | None
    scale: Scale
    T_2_1: NDArray[np.float64] | None  # 4x4, known or found by the engine
    engine: EngineInfo
    notes: tuple[str, ...]
    timing_ms: dict[str, float]

    @property
    def stamp_ns(self) -> int:
        """View 1's time of exposure in nanoseconds."""
        return self.pair.view_1.stamp_ns


def cloud_outputs(wanted: Product, provides: Output) -> Output:
    """Return what the engine must compute for the wanted clouds."""
    outputs = Output(0)
    if wanted & Product.CLOUD_1:
        outputs |= Output.CLOUD_1 if provides & Output.CLOUD_1 else Output.WARP
    if wanted & Product.CLOUD_2:
        outputs |= Output.CLOUD_2
    return outputs & provides
