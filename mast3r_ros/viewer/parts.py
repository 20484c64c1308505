# SPDX-License-Identifier: Apache-2.0
"""What the view is fed: the parts of one pair's answer, as plain arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import ImageArray

NO_UNIT = 'none'
"""The scale source of lengths without a known unit."""


@dataclass(frozen=True, eq=False)
class CloudPart:
    """View 1's cloud on its grid; NaN where there is no point.

    Points lie in the optical frame of camera 1: x right, y down, z forward.
    """

    stamp_ns: int
    points: FloatArray  # (H, W, 3)
    colors: ImageArray  # (H, W, 3) RGB
    confidence: FloatArray  # (H, W)

    @property
    def depth(self) -> FloatArray:
        """(H, W) the points' Z."""
        return self.points[..., 2]

    @property
    def known_confidence(self) -> FloatArray:
        """(H, W) the confidence where there is a point, else NaN."""
        return np.where(np.isfinite(self.depth), self.confidence, np.float32(np.nan))


@dataclass(frozen=True, eq=False)
class MatchPart:
    """Matches in pixels of the two input images."""

    stamp_1_ns: int
    stamp_2_ns: int
    size_1: tuple[int, int]  # width and height of the image that the pixels are of
    size_2: tuple[int, int]
    uv_1: FloatArray  # (N, 2)
    uv_2: FloatArray  # (N, 2)
    confidence: FloatArray  # (N,)


@dataclass(frozen=True, eq=False)
class ImagePart:
    """The two images of a pair; view 1's is enough."""

    stamp_ns: int
    image_1: ImageArray
    image_2: ImageArray | None = None


@dataclass(frozen=True)
class StatsPart:
    """How one pair went."""

    stamp_ns: int
    engine: str = ''
    device: str = ''
    age_ms: float = math.nan  # exposure to publication
    stages_ms: Mapping[str, float] = field(default_factory=dict)
    drops: Mapping[str, int] = field(default_factory=dict)  # so far, by reason
    matches: int = 0
    scale_source: str = NO_UNIT

    @property
    def engine_ms(self) -> float:
        """What the pair cost, waiting left out; NaN where nobody says."""
        spent = [value for stage, value in self.stages_ms.items() if stage != 'wait']
        return sum(spent) if spent else math.nan


@dataclass(frozen=True, eq=False)
class PosePart:
    """Where camera 1's optical frame is in a world whose z points up."""

    stamp_ns: int
    T_world_camera: NDArray[np.float64]  # 4x4


@dataclass(frozen=True)
class Sentence:
    """One sentence about the node's health."""

    level: int  # 0 all is well, 1 worth a look, 2 wrong
    text: str
