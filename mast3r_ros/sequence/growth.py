# SPDX-License-Identifier: Apache-2.0
"""What a placed frame adds: depth to its keyframe, and whether it becomes a keyframe itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.products import Cloud
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.sequence.keyframe import Keyframe, slopes_of
from mast3r_ros.sequence.pair_fit import PairFit
from mast3r_ros.sequence_config import SequenceConfig

_START_PARALLAX_PX = 2.0  # of the grid; with less, a pair says little of the depth
_START_STEP = 0.01  # of the depth; shorter ones tell no unit of length
_START_COVERED = 0.6  # of the picture; with less of the first view in sight it must do
_LEAST_DEPTH = 0.02  # of the picture, for a frame that others are to be followed against


def tells_depth(fit: PairFit) -> bool:
    """Whether the pair says enough of the keyframe's depth to be fused with it, or to begin it."""
    if fit.cloud_2 is None or not fit.has_length:
        return False
    far_enough = fit.parallax_px >= _START_PARALLAX_PX or fit.covered <= _START_COVERED
    return fit.keyframe.has_depth or far_enough


def in_given_unit(fit: PairFit, T_keyframe_camera: Matrix) -> PairFit:
    """Return a pair whose points begin the keyframe's depth in the unit of a pose that is given.

    Until the camera has moved far enough to tell that unit, the pair is left without points. The
    keyframe itself keeps its unit, so that frames placed before stay where they are.

    :param T_keyframe_camera: the pose, in the keyframe's unit.
    """
    keyframe = fit.keyframe
    if keyframe.has_depth:
        return fit
    length, found = (np.linalg.norm(T[:3, 3]) for T in (T_keyframe_camera, fit.T_keyframe_camera))
    if not (length > 0.0 and _tells_unit(fit, float(found))):
        return replace(fit, cloud_1=None, cloud_2=None)
    if fit.scale_source is ScaleSource.STEREO_BASELINE:  # from that very pose
        return fit
    # Two places a known way apart.
    factor = float(length / found)
    return replace(fit, scale_1=factor * fit.scale_1, scale_source=ScaleSource.STEREO_BASELINE)


def _tells_unit(fit: PairFit, step: float) -> bool:
    """Whether a step, in the unit of the pair's points, is long enough to be compared."""
    if fit.cloud_1 is None or not fit.has_length or fit.parallax_px < _START_PARALLAX_PX:
        return False
    known = fit.cloud_1.depth[np.isfinite(fit.cloud_1.depth)]
    return len(known) > 0 and step >= _START_STEP * float(np.median(known))


def fuse(fit: PairFit, T_keyframe_camera: Matrix) -> None:
    """Add to the keyframe's depth what the pair says of it; it starts it where none was."""
    keyframe = fit.keyframe
    if fit.cloud_2 is None or not tells_depth(fit):
        return
    if not keyframe.has_depth:
        keyframe.begin_depth(fit.cloud_2.grid)
    points = fit.points_2(T_keyframe_camera)
    slopes = None if keyframe.slopes is None else slopes_of(points)
    keyframe.fuse(points[..., 2], fit.cloud_2.confidence - np.float32(1.0), slopes)
    if keyframe.scale_source is ScaleSource.NONE:
        keyframe.scale_source = fit.scale_source


def in_world_unit(fit: PairFit, keyframe: Keyframe) -> Cloud | None:
    """Return the frame's points in the world's unit."""
    if fit.cloud_1 is None or not np.isfinite(fit.scale_1):
        return None
    factor = np.float32(fit.scale_1 * keyframe.scale)
    return replace(fit.cloud_1, points=fit.cloud_1.points * factor)


def is_news(fit: PairFit, cloud: Cloud | None, config: SequenceConfig) -> bool:
    """Whether the frame is to become a keyframe."""
    if cloud is None or not np.isfinite(cloud.depth).mean() > _LEAST_DEPTH:
        return False
    return fit.covered < config.keyframe_overlap or fit.disparity > config.keyframe_disparity
