# SPDX-License-Identifier: Apache-2.0
"""What engines and matching hand out, with shape, frame and unit of every field."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.views import Grid

FloatArray = NDArray[np.float32]
IndexArray = NDArray[np.int64]


class Output(enum.Flag):
    """What an engine can compute and a caller can ask for; absent results are None."""

    CLOUD_1 = enum.auto()
    """Points and confidence of view 1."""
    CLOUD_2 = enum.auto()
    """Points and confidence of view 2, in the frame of camera 1."""
    DESC = enum.auto()
    """Descriptors and their confidence for both views."""
    WARP = enum.auto()
    """Where each pixel lies in the other view."""
    ALL = CLOUD_1 | CLOUD_2 | DESC | WARP


class ScaleSource(str, enum.Enum):
    """What the unit of length comes from."""

    MODEL = 'model'
    """A metric network's own metres."""
    STEREO_BASELINE = 'stereo_baseline'
    """Metres from the known distance of two cameras."""
    NONE = 'none'
    """No known unit."""


@dataclass(frozen=True, eq=False)
class InferenceResult:
    """The answer for one pair; all arrays float32, view 1 on ``grid_1``, view 2 on ``grid_2``.

    Points lie in the frame of camera 1 (x right, y down, z forward); NaN where there is none.
    """

    grid_1: Grid
    grid_2: Grid
    pts3d_1: FloatArray | None = None  # (H, W, 3)
    pts3d_2: FloatArray | None = None  # (H2, W2, 3)
    conf_1: FloatArray | None = None  # (H, W), from 1 (none) up
    conf_2: FloatArray | None = None  # (H2, W2), from 1 (none) up
    desc_1: FloatArray | None = None  # (H, W, D), unit length
    desc_2: FloatArray | None = None  # (H2, W2, D), unit length
    desc_conf_1: FloatArray | None = None  # (H, W), from 0 up
    desc_conf_2: FloatArray | None = None  # (H2, W2), from 0 up
    warp_1_2: FloatArray | None = None  # (H, W, 2), x and y on grid 2 of each pixel of grid 1
    warp_2_1: FloatArray | None = None  # (H2, W2, 2), x and y on grid 1 of each pixel of grid 2
    warp_conf_1: FloatArray | None = None  # (H, W), from 0 up
    T_2_1: NDArray[np.float64] | None = None  # 4x4, given or found by the engine
    scale_source: ScaleSource = ScaleSource.NONE
    notes: tuple[str, ...] = ()  # why something is empty or weak, in words
    timing_ms: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class MatchResult:
    """Pixel matches between the two views of a pair, on their grids."""

    idx_1: IndexArray  # (N,) row-major pixel index in view 1
    idx_2: IndexArray  # (N,) row-major pixel index in view 2
    pts2d_1: FloatArray  # (N, 2) x, y in pixels of grid 1
    pts2d_2: FloatArray  # (N, 2) x, y in pixels of grid 2
    confidence: FloatArray  # (N,)
    confidence_kind: str  # what confidence is: desc_conf, similarity, warp_conf, conf

    def __len__(self) -> int:
        return len(self.idx_1)

    def select(self, rows: NDArray[Any]) -> MatchResult:
        """Return the matches of the given rows (indices or a boolean mask), in that order."""
        return MatchResult(
            self.idx_1[rows],
            self.idx_2[rows],
            self.pts2d_1[rows],
            self.pts2d_2[rows],
            self.confidence[rows],
            self.confidence_kind,
        )


@dataclass(frozen=True)
class Timing:
    """Time of repeated pairs, stage by stage, in milliseconds."""

    iterations: int
    stages_ms: dict[str, list[float]]  # one value an iteration


@dataclass(frozen=True)
class EngineInfo:
    """What an engine says of itself."""

    name: str
    device: str
    precision: str
    versions: dict[str, str]


def match_outputs(provides: Output) -> Output:
    """Return what the engine must compute for matches: descriptors, else warp, else clouds."""
    for source in (Output.DESC, Output.WARP):
        if provides & source:
            return source
    return (Output.CLOUD_1 | Output.CLOUD_2) & provides
