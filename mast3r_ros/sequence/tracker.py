# SPDX-License-Identifier: Apache-2.0
"""Follows a camera through its pictures: each frame against the last keyframe, earlier ones when
lost. It knows no ROS; the engine answers through :class:`Answers`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.products import Cloud, PairResult, Product
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.answers import Answers
from mast3r_ros.sequence.covariance import covariance_of
from mast3r_ros.sequence.dynamic_pixels import DynamicPixels
from mast3r_ros.sequence.flow_gate import FlowGate
from mast3r_ros.sequence.frames import SequenceFrame, TrackedFrame, TrackingState
from mast3r_ros.sequence.keyframe import Keyframe
from mast3r_ros.sequence.keyframes import Keyframes
from mast3r_ros.sequence.pair_fit import PairFit, fit_pair
from mast3r_ros.sequence_config import SequenceConfig

_EVERYTHING = Product.CLOUD_1 | Product.CLOUD_2 | Product.MATCHES
_START_PARALLAX_PX = 2.0  # of the grid; with less, a pair says little of the depth
_START_COVERED = 0.6  # of the picture; with less of the first view in sight it must do


class Tracker:
    """Follows one camera; to be used by one thread.

    :param answers: the engine behind its port.
    """

    def __init__(self, answers: Answers, config: SequenceConfig | None = None) -> None:
        self.config = config or SequenceConfig()
        self.keyframes = Keyframes(answers, self.config)
        self._answers = answers
        self._gate = FlowGate(self.config.still_px)
        self._last: TrackedFrame | None = None
        self._last_view: View | None = None
        self._last_odometry: Matrix | None = None
        self._lost = False
        self._moving = (
            DynamicPixels(self.config.dynamic_px) if self.config.dynamic_px > 0.0 else None
        )

    def track(self, frame: SequenceFrame) -> TrackedFrame:
        """Return where a frame was; one that cannot be placed is reported as lost.

        :raises Mast3rError: the engine failed; the tracker can go on with the next frame.
        """
        _check(frame)
        timing_ms: dict[str, float] = {}
        with _timed(timing_ms, 'gate'):
            still = self._last is not None and self._gate.is_still(frame.view.image)
        if still and self._last is not None and frame.T_world_camera is None:
            stamp_ns = frame.view.stamp_ns
            return replace(
                self._last,
                stamp_ns=stamp_ns,
                state=TrackingState.STILL,
                is_keyframe=False,
                timing_ms=timing_ms,
            )
        own = self._stereo_cloud(frame, timing_ms)
        if len(self.keyframes) == 0:
            found = self._with_dynamic(self._start(frame, own), frame, timing_ms)
        else:
            found = self._follow(frame, own, timing_ms)
        found = replace(found, timing_ms=timing_ms)
        self._lost = found.state in (TrackingState.LOST, TrackingState.BRIDGED)
        if found.state is not TrackingState.LOST:
            self._last, self._last_view = found, frame.view
            self._last_odometry = frame.T_odometry_camera
        if not self._lost:
            self._gate.remember(frame.view.image)
        else:
            self._gate.forget()
            if self._moving is not None:
                self._moving.forget()
        return found

    def _stereo_cloud(
        self, frame: SequenceFrame, timing_ms: dict[str, float]
    ) -> PairResult | None:
        """Return what a stereo pair shows, None for a single picture."""
        if frame.right is None:
            return None
        with _timed(timing_ms, 'stereo'):
            return self._answers.pair(frame.view, frame.right, Product.CLOUD_1, frame.T_right_left)

    def _start(self, frame: SequenceFrame, own: PairResult | None) -> TrackedFrame:
        """Begin the world, or what is known of it, at a frame; a single one has no depth yet."""
        given = frame.T_world_camera
        cloud = None if own is None else own.cloud_1
        source = ScaleSource.NONE if own is None else own.scale.source
        pose = np.eye(4) if given is None else given
        keyframe = self.keyframes.add(frame.view, pose, cloud, source)
        return TrackedFrame(
            frame.view.stamp_ns,
            TrackingState.STARTED if given is None else TrackingState.GIVEN,
            keyframe,
            np.eye(4),
            cloud,
            scale_source=source,
            is_keyframe=True,
            covariance=np.zeros((6, 6)),
        )

    def _follow(
        self, frame: SequenceFrame, own: PairResult | None, timing_ms: dict[str, float]
    ) -> TrackedFrame:
        reasons = []
        with _timed(timing_ms, 'follow'):
            for number, keyframe in enumerate(self._candidates(frame)):
                fit = self._fit(frame, keyframe, own, timing_ms, again=number > 0)
                if fit.reason:
                    reasons.append(fit.reason)
                    continue
                return self._accepted(frame, fit, own, again=number > 0, timing_ms=timing_ms)
        if frame.T_world_camera is not None:
            return replace(self._start(frame, own), reason=reasons[0])
        bridged = self._bridged(frame, reasons[0])
        if bridged is not None:
            return bridged
        return TrackedFrame(frame.view.stamp_ns, TrackingState.LOST, reason=reasons[0])

    def _candidates(self, frame: SequenceFrame) -> Iterator[Keyframe]:
        """Yield the last keyframe, and what else a lost frame may be found against."""
        current = self.keyframes.current
        yield current
        if frame.T_world_camera is not None:
            return
        if not self._lost and self._last is not None and not self._last.is_keyframe:
            promoted = self._promote(self._last)
            if promoted is not None:
                yield promoted
        yield from self.keyframes.alike(frame.view, self.config.relocalise_candidates)

    def _promote(self, last: TrackedFrame) -> Keyframe | None:
        """Make the frame before a keyframe: the last keyframe may be too far away by now."""
        keyframe = last.keyframe
        T, view = last.T_keyframe_camera, self._last_view
        if last.cloud is None or keyframe is None or T is None or view is None:
            return None
        return self.keyframes.add_after(keyframe, view, T, last.cloud, last.scale_source)

    def _fit(
        self,
        frame: SequenceFrame,
        keyframe: Keyframe,
        own: PairResult | None,
        timing_ms: dict[str, float],
        *,
        again: bool,
    ) -> PairFit:
        """Place a frame against one keyframe."""
        if keyframe.view is None:
            return PairFit(keyframe, 'the keyframe was let go')
        wanted = Product.MATCHES if own is not None else _EVERYTHING
        T_2_1 = None
        if frame.T_world_camera is not None:
            T_2_1 = np.linalg.inv(keyframe.T_world_camera) @ frame.T_world_camera
            if np.linalg.norm(T_2_1[:3, 3]) < 1e-6:
                T_2_1 = None
        with _timed(timing_ms, 'engine'):
            result = self._answers.pair(frame.view, keyframe.view, wanted, T_2_1)
        if own is not None:
            result = replace(result, cloud_1=own.cloud_1, scale=own.scale)
        if result.cloud_1 is None:
            return PairFit(keyframe, 'the engine gives no points for frames of a moving camera')
        with _timed(timing_ms, 'pose'):
            return fit_pair(
                result, keyframe, self._starts(frame, keyframe), self.config, strict=again
            )

    def _starts(self, frame: SequenceFrame, keyframe: Keyframe) -> tuple[Matrix, ...]:
        """Return where the frame may be, from where the one before was: T_frame_keyframe."""
        expected = self._by_odometry(frame)
        if expected is None and self._last is not None and not self._lost:
            expected = self._last.T_world_camera
        if expected is None:
            return ()
        T = np.linalg.inv(keyframe.T_world_camera) @ expected
        T[:3, 3] /= keyframe.scale
        return (np.asarray(np.linalg.inv(T)),)

    def _by_odometry(self, frame: SequenceFrame) -> Matrix | None:
        """Return where the odometry puts the frame in the world; None where it cannot.

        Its metres are of use only where the world is in metres too.
        """
        now, before = frame.T_odometry_camera, self._last_odometry
        if now is None or before is None or self._last is None:
            return None
        pose, source = self._last.T_world_camera, self.keyframes.current.scale_source
        if pose is None or source is ScaleSource.NONE:
            return None
        return np.asarray(pose @ np.linalg.inv(before) @ now)

    def _bridged(self, frame: SequenceFrame, reason: str) -> TrackedFrame | None:
        """Return the frame where the odometry puts it, None where there is none."""
        expected, keyframe = self._by_odometry(frame), self.keyframes.current
        if expected is None:
            return None
        T = np.linalg.inv(keyframe.T_world_camera) @ expected
        T[:3, 3] /= keyframe.scale
        return TrackedFrame(
            frame.view.stamp_ns,
            TrackingState.BRIDGED,
            keyframe,
            T,
            scale_source=keyframe.scale_source,
            reason=reason,
        )

    def _accepted(
        self,
        frame: SequenceFrame,
        fit: PairFit,
        own: PairResult | None,
        *,
        again: bool,
        timing_ms: dict[str, float],
    ) -> TrackedFrame:
        keyframe, given = fit.keyframe, frame.T_world_camera
        T_keyframe_camera = fit.T_keyframe_camera
        state = TrackingState.RELOCALISED if again else TrackingState.TRACKED
        if given is not None:
            state = TrackingState.GIVEN
            T_keyframe_camera = np.linalg.inv(keyframe.T_world_camera) @ given
            T_keyframe_camera[:3, 3] /= keyframe.scale
        with _timed(timing_ms, 'fuse'):
            self.keyframes.refer_to(keyframe)
            if own is None:
                self._fuse(fit, T_keyframe_camera)
            cloud = _in_world_unit(fit, keyframe)
            if given is None and not keyframe.has_depth:
                # So little parallax has no length yet, and each pair would choose another unit.
                T_keyframe_camera[:3, 3], cloud = 0.0, None
        found = TrackedFrame(
            frame.view.stamp_ns,
            state,
            keyframe,
            T_keyframe_camera,
            cloud,
            scale_source=keyframe.scale_source,
            matches=int(fit.inliers),
            inlier_share=fit.share,
            covariance=np.zeros((6, 6)) if given is not None else covariance_of(fit),
        )
        found = self._with_dynamic(found, frame, timing_ms)
        if self._is_news(fit, cloud):
            with _timed(timing_ms, 'keyframe'):
                added = self.keyframes.add_after(
                    keyframe, frame.view, T_keyframe_camera, cloud, found.scale_source
                )
                added.hide(found.dynamic)
                if found.covariance is not None:
                    added.covariance = found.covariance
                if given is None:  # given poses are not to be moved
                    self.keyframes.close_loops(added)
            found = replace(found, keyframe=added, T_keyframe_camera=np.eye(4), is_keyframe=True)
        return found

    def _fuse(self, fit: PairFit, T_keyframe_camera: Matrix) -> None:
        """Add to the keyframe's depth what the pair says of it; it starts it where none was."""
        keyframe = fit.keyframe
        if fit.cloud_2 is None or not fit.has_length:
            return
        if not keyframe.has_depth and (
            fit.parallax_px < _START_PARALLAX_PX and fit.covered > _START_COVERED
        ):
            return
        if not keyframe.has_depth:
            keyframe.begin_depth(fit.cloud_2.grid)
        depth = fit.depth_2(T_keyframe_camera)
        keyframe.fuse(depth, fit.cloud_2.confidence - np.float32(1.0))
        if keyframe.scale_source is ScaleSource.NONE:
            keyframe.scale_source = fit.scale_source

    def _with_dynamic(
        self, found: TrackedFrame, frame: SequenceFrame, timing_ms: dict[str, float]
    ) -> TrackedFrame:
        """Return the frame with what moves in it by itself."""
        pose, camera = found.T_world_camera, frame.view.camera
        if self._moving is None or pose is None or camera is None:
            return found
        with _timed(timing_ms, 'dynamic'):
            dynamic = self._moving.find(frame.view.image, camera, found.cloud, pose)
        return replace(found, dynamic=dynamic)

    def _is_news(self, fit: PairFit, cloud: Cloud | None) -> bool:
        """Whether this frame is to become a keyframe."""
        if cloud is None or not np.isfinite(cloud.depth).mean() > 0.02:
            return False
        return (
            fit.covered < self.config.keyframe_overlap
            or fit.disparity > self.config.keyframe_disparity
        )


def _in_world_unit(fit: PairFit, keyframe: Keyframe) -> Cloud | None:
    """Return the frame's points in the world's unit."""
    if fit.cloud_1 is None or not np.isfinite(fit.scale_1):
        return None
    factor = np.float32(fit.scale_1 * keyframe.scale)
    return replace(fit.cloud_1, points=fit.cloud_1.points * factor)


def _check(frame: SequenceFrame) -> None:
    if frame.view.camera is None:
        raise InvalidInput(
            'the frame has no calibration; give its View a Camera, estimated if need be'
        )


@contextmanager
def _timed(timing_ms: dict[str, float], stage: str) -> Iterator[None]:
    start = time.perf_counter()
    yield
    timing_ms[stage] = timing_ms.get(stage, 0.0) + (time.perf_counter() - start) * 1e3
