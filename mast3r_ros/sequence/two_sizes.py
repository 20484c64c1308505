# SPDX-License-Identifier: Apache-2.0
"""Frames are placed on few pixels where an engine has a size for that; what keyframes and the map
are made of always comes from all of them.
"""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from mast3r_ros.core.products import Cloud, PairResult, Product
from mast3r_ros.core.views import View
from mast3r_ros.sequence.answers import Answers
from mast3r_ros.sequence.frames import SequenceFrame
from mast3r_ros.sequence.growth import is_news
from mast3r_ros.sequence.keyframe import Keyframe, sample_depth
from mast3r_ros.sequence.pair_fit import PairFit
from mast3r_ros.sequence_config import SequenceConfig

_MIN_RATIOS = 20  # depths that both clouds know, for a unit of length
_EVERY = 4  # grid pixels apart, where they are compared


class OwnDepth:
    """What a frame's own stereo pair shows of it, at either size; answered when first asked for.

    :param timing_ms: takes in what that took, under ``stereo``.
    """

    def __init__(
        self, answers: Answers, frame: SequenceFrame, timing_ms: dict[str, float]
    ) -> None:
        self._answers = answers
        self._frame = frame
        self._timing_ms = timing_ms
        self._known: dict[bool, PairResult] = {}

    @property
    def is_stereo(self) -> bool:
        """Whether the frame has a second picture."""
        return self._frame.right is not None

    def at(self, *, for_tracking: bool) -> PairResult | None:
        """Return what the stereo pair shows, None for a single picture."""
        frame = self._frame
        if frame.right is None:
            return None
        if for_tracking not in self._known:
            start = time.perf_counter()
            self._known[for_tracking] = self._answers.pair(
                frame.view,
                frame.right,
                Product.CLOUD_1,
                frame.T_right_left,
                for_tracking=for_tracking,
            )
            spent_ms = (time.perf_counter() - start) * 1e3
            self._timing_ms['stereo'] = self._timing_ms.get('stereo', 0.0) + spent_ms
        return self._known[for_tracking]


class TwoSizes:
    """Decides at which size a frame is placed."""

    def __init__(self, answers: Answers, config: SequenceConfig) -> None:
        self._answers = answers
        self._config = config

    def begins_small(self, frame: SequenceFrame, keyframe: Keyframe) -> bool:
        """Whether few pixels may do: only where calibration and the keyframe's depth are known."""
        is_known = frame.view.camera is not None and keyframe.is_calibrated and keyframe.has_depth
        return is_known and self._answers.has_tracking_size

    def is_enough(self, fit: PairFit) -> bool:
        """Whether few pixels did: the frame is placed, and it is not to become a keyframe."""
        return not fit.reason and not is_news(fit, fit.cloud_1, self._config)

    def whole(self, view: View, keyframe: Keyframe, cloud: Cloud) -> Cloud:
        """Return the cloud of a placed frame on all pixels, in the unit of the one it has."""
        if keyframe.view is None or not self._answers.has_tracking_size:
            return cloud
        answer = self._answers.pair(view, keyframe.view, Product.CLOUD_1).cloud_1
        if answer is None or answer.points.shape == cloud.points.shape:
            return cloud
        factor = _ratio(cloud, answer)
        if factor is None:
            return cloud
        return replace(answer, points=answer.points * np.float32(factor))


def _ratio(one: Cloud, other: Cloud) -> float | None:
    """Return the depth of one cloud over that of another of the same picture, in the median."""
    rows, columns = np.mgrid[0 : other.grid.height : _EVERY, 0 : other.grid.width : _EVERY]
    uv = other.grid.to_image(np.stack([columns.ravel(), rows.ravel()], axis=1))
    with np.errstate(invalid='ignore', divide='ignore'):
        depth = sample_depth(one.depth, one.grid, uv.astype(np.float32))
        ratios = depth / other.depth[rows, columns].ravel()
        good = ratios[np.isfinite(ratios) & (ratios > 0.0)]
    return float(np.median(good)) if len(good) >= _MIN_RATIOS else None
