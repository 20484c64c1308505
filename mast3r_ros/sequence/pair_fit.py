# SPDX-License-Identifier: Apache-2.0
"""A frame placed against one keyframe: pose, unit of length, and whether to believe them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.geometry import transform
from mast3r_ros.core.products import Cloud, PairResult
from mast3r_ros.core.results import FloatArray, ScaleSource
from mast3r_ros.sequence.keyframe import Keyframe
from mast3r_ros.sequence.motion import Motion
from mast3r_ros.sequence.pair_motion import Matched, Surface, by_pixels, by_rays, matched
from mast3r_ros.sequence_config import SequenceConfig

_MIN_RATIOS = 20  # depths that both views know, for a unit of length
_MAX_LOG_SCALE = 0.5  # of a metric network from pair to pair
_STRICT = 1.5  # how much more a frame must show that is placed against an older keyframe
_SURPRISED = 2.0  # how much more one must show that is not where it was expected
_SURPRISE = 0.2  # widths of the picture that it is off
_OVERLAP_STEP = 16  # grid pixels apart, where the overlap is looked at


@dataclass(frozen=True, eq=False)
class PairFit:
    """The outcome; ``reason`` says why it is not to be believed, empty if it is.

    :param T_camera_keyframe: takes points of the keyframe into the frame, keyframe's unit.
    :param scale_1: the keyframe's unit over that of the pair's own points; NaN where unknown.
    :param inliers: number of matches that agree; ``share`` of them all.
    :param covered: share of the keyframe's picture that the frame sees.
    :param covariance: (6, 6) of a turn and a shift of the frame's camera, keyframe's unit.
    :param disparity: median motion of a match, in widths of the picture.
    """

    keyframe: Keyframe
    reason: str = ''
    T_camera_keyframe: Matrix | None = None
    has_length: bool = False
    scale_1: float = float('nan')
    inliers: int = 0
    share: float = 0.0
    covered: float = 0.0
    disparity: float = 0.0
    parallax_px: float = 0.0
    cloud_1: Cloud | None = None
    cloud_2: Cloud | None = None
    scale_source: ScaleSource = ScaleSource.NONE
    covariance: Matrix | None = None

    @property
    def T_keyframe_camera(self) -> Matrix:
        """The frame's pose in the keyframe."""
        assert self.T_camera_keyframe is not None
        return np.asarray(np.linalg.inv(self.T_camera_keyframe))

    def points_2(self, T_keyframe_camera: Matrix) -> FloatArray:
        """Return the points that the pair predicts for the keyframe, in its unit and frame."""
        assert self.cloud_2 is not None
        points = self.cloud_2.points * np.float32(self.scale_1)
        T = T_keyframe_camera.astype(np.float32)
        return np.asarray(points @ T[:3, :3].T + T[:3, 3], np.float32)


def fit_pair(
    result: PairResult,
    keyframe: Keyframe,
    starts: tuple[Matrix, ...],
    config: SequenceConfig,
    camera: Camera,
    *,
    surface_1: Surface | None = None,
    strict: bool = False,
    rays_too: bool = False,
) -> PairFit:
    """Place view 1 of an answered pair against the keyframe, which is view 2.

    :param starts: poses ``T_camera_keyframe`` that may be near.
    :param camera: of view 1, as it is known or believed to be.
    :param surface_1: points of view 1 where they are known better than by this pair.
    :param strict: ask for more than of the next frame in turn.
    :param rays_too: try the points themselves where the calibration explains too little.
    """
    matches = result.matches
    if matches is None or len(matches) < config.min_inliers:
        count = 0 if matches is None else len(matches)
        return PairFit(keyframe, _too_few('matches', count, config.min_inliers))
    try:
        return _fit(result, keyframe, starts, config, camera, surface_1, strict, rays_too)
    except (cv2.error, np.linalg.LinAlgError) as error:  # a frame lost is no reason to end
        return PairFit(keyframe, f'the solver failed: {" ".join(str(error).split())}')


def _fit(
    result: PairResult,
    keyframe: Keyframe,
    starts: tuple[Matrix, ...],
    config: SequenceConfig,
    camera: Camera,
    surface_1: Surface | None,
    strict: bool,
    rays_too: bool,
) -> PairFit:
    pair = matched(result, keyframe, camera, surface_1)
    judge = _Judge(result, keyframe, starts, config, camera, pair, strict)
    if keyframe.goes_by_points:
        return judge.fit(*by_rays(pair, starts))
    fit = judge.fit(*by_pixels(pair, starts, has_depth=keyframe.has_depth))
    if fit.reason and rays_too and keyframe.has_depth:
        again = judge.fit(*by_rays(pair, starts))
        return fit if again.reason else again
    return fit


@dataclass(frozen=True, eq=False)
class _Judge:
    """What a motion is judged by."""

    result: PairResult
    keyframe: Keyframe
    starts: tuple[Matrix, ...]
    config: SequenceConfig
    camera: Camera
    pair: Matched
    strict: bool

    def fit(self, motion: Motion | None, why_not: str) -> PairFit:
        """Return what a motion amounts to, and whether to believe it."""
        result, keyframe, pair, camera = self.result, self.keyframe, self.pair, self.camera
        if motion is None:
            return PairFit(keyframe, why_not)
        assert result.matches is not None
        inliers = round(len(result.matches) * motion.share)
        factor = _STRICT if self.strict else 1.0
        if motion.has_length and self.starts and self._is_surprise(motion):
            factor = _SURPRISED
        reason = _doubt(inliers, motion.share, self.config, factor)
        moved = np.linalg.norm(pair.uv_1 - pair.uv_2, axis=1)[motion.inliers]
        scale_1 = _unit(motion, pair.rays_2, pair.z_2, pair.z_1) if keyframe.has_depth else 1.0
        fit = PairFit(
            keyframe,
            reason,
            motion.T_b_a,
            motion.has_length,
            scale_1,
            inliers,
            motion.share,
            _overlap(keyframe, motion.T_b_a, camera, pair.uv_1[motion.inliers]),
            float(np.median(moved)) / camera.width,
            motion.parallax_px,
            result.cloud_1,
            result.cloud_2,
            result.scale.source,
            motion.covariance,
        )
        return fit if reason else _checked_scale(fit)

    def _is_surprise(self, motion: Motion) -> bool:
        """Whether the pose lies far from all that were expected; depth must tell it."""
        pair, camera = self.pair, self.camera
        seen = motion.inliers & np.isfinite(pair.z_2)
        if not self.keyframe.has_depth or not seen.any():
            return False
        points = (pair.rays_2 * pair.z_2[:, None])[seen]
        found = camera.project(transform(motion.T_b_a, points))
        gaps = []
        for start in self.starts:
            gap = np.linalg.norm(camera.project(transform(start, points)) - found, axis=1)
            gaps.append(np.median(np.nan_to_num(gap, nan=np.inf)))
        return bool(min(gaps) > _SURPRISE * camera.width)


def _checked_scale(fit: PairFit) -> PairFit:
    """Doubt a metric network whose metres change from one pair to the next."""
    if fit.scale_source is not ScaleSource.MODEL or not np.isfinite(fit.scale_1):
        return fit
    if fit.keyframe.scale_source is ScaleSource.STEREO_BASELINE:  # those metres are not its own
        return fit
    change = abs(np.log(max(fit.scale_1 * fit.keyframe.scale, 1e-9)))
    if change < _MAX_LOG_SCALE:
        return fit
    return PairFit(fit.keyframe, f'its unit of length is off by a factor of {np.exp(change):.2f}')


def _doubt(inliers: int, share: float, config: SequenceConfig, factor: float) -> str:
    """Return why a pose is not to be believed, empty if it is."""
    least, least_share = factor * config.min_inliers, factor * config.min_inlier_share
    if inliers < least:
        return _too_few('agreeing matches', inliers, least)
    if share < least_share:
        return f'only {share:.0%} of the matches agree, {least_share:.0%} are needed'
    return ''


def _too_few(what: str, count: int, least: float) -> str:
    return f'{count} {what}, {least:.0f} are needed'


def _unit(
    motion: Motion, rays_2: Matrix, z_2: NDArray[np.float64], z_1: NDArray[np.float64]
) -> float:
    """Return the keyframe's unit over that of view 1's own depth."""
    points = transform(motion.T_b_a, rays_2 * z_2[:, None])
    with np.errstate(invalid='ignore', divide='ignore'):
        ratios = points[:, 2] / z_1
        good = motion.inliers & np.isfinite(ratios) & (ratios > 0.0)
    return float(np.median(ratios[good])) if good.sum() >= _MIN_RATIOS else float('nan')


def _overlap(
    keyframe: Keyframe, T_camera_keyframe: Matrix, camera: Camera, uv_1: NDArray[np.float32]
) -> float:
    """Return the share of the keyframe that lies inside the frame's picture."""
    every = _OVERLAP_STEP
    depth = keyframe.depth[every // 2 :: every, every // 2 :: every]
    known = np.isfinite(depth)
    if not known.any():
        return _cells(uv_1, camera)
    rows, columns = np.nonzero(known)
    at = np.stack([columns, rows], axis=1) * every + every // 2
    rays = keyframe.grid_camera.unproject(at)
    points = transform(T_camera_keyframe, rays * depth[known][:, None])
    uv = camera.project(points)
    with np.errstate(invalid='ignore'):
        inside = (uv >= 0.0) & (uv < (camera.width, camera.height)) & (points[:, 2:] > 0.0)
    return float(inside.all(axis=1).mean())


def _cells(uv: NDArray[np.float32], camera: Camera) -> float:
    """Return the share of 8 x 6 cells of the picture in which a match lies."""
    cells = np.floor(uv / (camera.width / 8, camera.height / 6)).astype(int)
    return len(np.unique(cells, axis=0)) / 48
