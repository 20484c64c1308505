# SPDX-License-Identifier: Apache-2.0
"""Follows a camera through its pictures: each frame against the last keyframe, earlier ones when
lost. It knows no ROS; the engine answers through :class:`Answers`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from mast3r_ros.core.products import Cloud, Product
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.spent_time import timed
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.answers import Answers
from mast3r_ros.sequence.covariance import covariance_of
from mast3r_ros.sequence.dynamic_pixels import DynamicPixels
from mast3r_ros.sequence.expectation import Expectation, agreeing, as_given, in_keyframe
from mast3r_ros.sequence.flow_gate import FlowGate
from mast3r_ros.sequence.frames import SequenceFrame, TrackedFrame, TrackingState
from mast3r_ros.sequence.growth import fuse, in_given_unit, in_world_unit, is_news
from mast3r_ros.sequence.keyframe import Keyframe
from mast3r_ros.sequence.keyframes import Keyframes
from mast3r_ros.sequence.pair_fit import PairFit, fit_pair
from mast3r_ros.sequence.two_sizes import OwnDepth, TwoSizes
from mast3r_ros.sequence_config import SequenceConfig

_EVERYTHING = Product.CLOUD_1 | Product.CLOUD_2 | Product.MATCHES


class Tracker:
    """Follows one camera; to be used by one thread.

    :param answers: the engine behind its port.
    """

    def __init__(self, answers: Answers, config: SequenceConfig | None = None) -> None:
        self.config = config or SequenceConfig()
        self.keyframes = Keyframes(answers, self.config)
        self._answers = answers
        self._sizes = TwoSizes(answers, self.config)
        self._gate = FlowGate(self.config.still_px)
        self._expectation = Expectation()
        self._told_of_camera: Cloud | None = None  # by the pair that was looked at last
        self._has_given = False  # keyframes whose pose was given
        self._moving = (
            DynamicPixels(self.config.dynamic_px) if self.config.dynamic_px > 0.0 else None
        )

    def track(self, frame: SequenceFrame) -> TrackedFrame:
        """Return where a frame was; one that cannot be placed is reported as lost.

        :raises Mast3rError: the engine failed; the tracker can go on with the next frame.
        """
        frame = self._with_camera(frame)
        timing_ms: dict[str, float] = {}
        last = self._expectation.last
        with timed(timing_ms, 'gate'):
            still = last is not None and self._gate.is_still(frame.view.image)
        if still and last is not None and frame.T_world_camera is None:
            return replace(
                last,
                stamp_ns=frame.view.stamp_ns,
                state=TrackingState.STILL,
                is_keyframe=False,
                timing_ms=timing_ms,
            )
        own = OwnDepth(self._answers, frame, timing_ms)
        if len(self.keyframes) == 0:
            found = self._with_dynamic(self._start(frame, own), frame, timing_ms)
        else:
            found = self._follow(frame, own, timing_ms)
        found = replace(found, timing_ms=timing_ms)
        if frame.view.camera is None and found.matches:  # its points are of something seen before
            self.keyframes.learn_camera(frame.view, self._told_of_camera)
        self._expectation.remember(frame, found)
        if not self._expectation.is_lost:
            self._gate.remember(frame.view.image)
        else:
            self._gate.forget()
            if self._moving is not None:
                self._moving.forget()
        return found

    def _with_camera(self, frame: SequenceFrame) -> SequenceFrame:
        """Return a frame with the calibration that is known by now; it may have none yet."""
        view, unknown = frame.view, self.keyframes.unknown
        if view.camera is not None:
            if unknown.is_believed_in:  # a calibration that comes late is better than any guess
                unknown.settle(view.camera)
                self.keyframes.take_camera(view.camera, certain=True)
            return frame
        if frame.right is not None:
            raise InvalidInput('a stereo pair has no calibration; give both of its views a Camera')
        camera = unknown.camera_of(view)
        return replace(frame, view=view.with_camera(camera)) if unknown.is_settled else frame

    def _start(self, frame: SequenceFrame, own: OwnDepth) -> TrackedFrame:
        """Begin the world, or what is known of it, at a frame; a single one has no depth yet."""
        given = frame.T_world_camera
        shown = own.at(for_tracking=False)
        cloud = None if shown is None else shown.cloud_1
        source = ScaleSource.NONE if shown is None else shown.scale.source
        pose = np.eye(4) if given is None else given
        self._has_given |= given is not None
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
        self, frame: SequenceFrame, own: OwnDepth, timing_ms: dict[str, float]
    ) -> TrackedFrame:
        reasons = []
        with timed(timing_ms, 'follow'):
            for number, keyframe in enumerate(self._candidates(frame)):
                fit = self._fit(frame, keyframe, own, timing_ms, again=number > 0)
                if number > 0:
                    fit = agreeing(fit, frame)
                if fit.reason:
                    reasons.append(fit.reason)
                    continue
                return self._accepted(frame, fit, own, again=number > 0, timing_ms=timing_ms)
        if frame.T_world_camera is not None:
            shown = own.at(for_tracking=False)
            cloud = None if shown is None else shown.cloud_1
            return as_given(frame, self.keyframes.current, cloud, reasons[0])
        bridged = self._expectation.bridged(frame, self.keyframes.current, reasons[0])
        if bridged is not None:
            return bridged
        return TrackedFrame(frame.view.stamp_ns, TrackingState.LOST, reason=reasons[0])

    def _candidates(self, frame: SequenceFrame) -> Iterator[Keyframe]:
        """Yield the last keyframe, and what else a lost frame may be found against."""
        current = self.keyframes.current
        yield current
        last = self._expectation.last
        if not self._expectation.is_lost and last is not None and not last.is_keyframe:
            promoted = self._promote(last)
            if promoted is not None:
                yield promoted
        if frame.T_world_camera is None:
            yield from self.keyframes.alike(frame.view, self.config.relocalise_candidates)

    def _promote(self, last: TrackedFrame) -> Keyframe | None:
        """Make the frame before a keyframe: the last keyframe may be too far away by now."""
        keyframe, cloud, pose = last.keyframe, last.cloud, last.T_world_camera
        T, view = last.T_keyframe_camera, self._expectation.last_view
        if keyframe is None or T is None or pose is None or view is None:
            return None
        if cloud is not None and last.matches:
            cloud = self._sizes.whole(view, keyframe, cloud)
        if last.state is TrackingState.GIVEN:
            # Its place needs no match, so it is taken in only once a frame has matched it:
            # else each picture in the dark would become a keyframe.
            self._has_given = True
            source = ScaleSource.NONE if cloud is None else last.scale_source
            return self.keyframes.made(view, pose, cloud, source)
        if cloud is None:
            return None
        return self.keyframes.add_after(keyframe, view, T, cloud, last.scale_source)

    def _fit(
        self,
        frame: SequenceFrame,
        keyframe: Keyframe,
        own: OwnDepth,
        timing_ms: dict[str, float],
        *,
        again: bool,
    ) -> PairFit:
        """Place a frame against one keyframe, on few pixels where they are enough."""
        if not again and self._sizes.begins_small(frame, keyframe):
            fit = self._fit_at(frame, keyframe, own, timing_ms, for_tracking=True)
            if self._sizes.is_enough(fit):
                return fit
        return self._fit_at(frame, keyframe, own, timing_ms, again=again)

    def _fit_at(
        self,
        frame: SequenceFrame,
        keyframe: Keyframe,
        own: OwnDepth,
        timing_ms: dict[str, float],
        *,
        again: bool = False,
        for_tracking: bool = False,
    ) -> PairFit:
        """Place a frame against one keyframe, at one size."""
        if keyframe.view is None:
            return PairFit(keyframe, 'the keyframe was let go')
        wanted = Product.MATCHES if own.is_stereo else _EVERYTHING
        if for_tracking:
            wanted &= ~Product.CLOUD_2  # the keyframe's depth lies on all pixels
        T_2_1 = None
        if frame.T_world_camera is not None:
            T_2_1 = np.linalg.inv(keyframe.T_world_camera) @ frame.T_world_camera
            if np.linalg.norm(T_2_1[:3, 3]) < 1e-6:
                T_2_1 = None
        with timed(timing_ms, 'engine'):
            result = self._answers.pair(
                frame.view, keyframe.view, wanted, T_2_1, for_tracking=for_tracking
            )
        shown = own.at(for_tracking=for_tracking)
        if shown is not None:
            result = replace(result, cloud_1=shown.cloud_1, scale=shown.scale)
        if result.cloud_1 is None:
            return PairFit(keyframe, 'the engine gives no points for frames of a moving camera')
        unknown = self.keyframes.unknown
        if frame.view.camera is None:
            self._told_of_camera = result.cloud_1
            self.keyframes.suppose_camera(frame.view, result.cloud_1)
            result = unknown.stretched(result)
        with timed(timing_ms, 'pose'):
            return fit_pair(
                result,
                keyframe,
                self._expectation.starts(frame, keyframe),
                self.config,
                frame.view.camera or unknown.camera_of(frame.view),
                strict=again,
                rays_too=unknown.is_believed_in,
            )

    def _accepted(
        self,
        frame: SequenceFrame,
        fit: PairFit,
        own: OwnDepth,
        *,
        again: bool,
        timing_ms: dict[str, float],
    ) -> TrackedFrame:
        keyframe, is_given = fit.keyframe, frame.T_world_camera is not None
        T_keyframe_camera = fit.T_keyframe_camera
        state = TrackingState.RELOCALISED if again else TrackingState.TRACKED
        if frame.T_world_camera is not None:
            state = TrackingState.GIVEN
            T_keyframe_camera = in_keyframe(keyframe, frame.T_world_camera)
            if not own.is_stereo:
                fit = in_given_unit(fit, T_keyframe_camera)
        with timed(timing_ms, 'fuse'):
            self.keyframes.take_in(keyframe)
            if not own.is_stereo:
                fuse(fit, T_keyframe_camera)
            cloud = in_world_unit(fit, keyframe)
            if not is_given and not keyframe.has_depth:
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
            covariance=np.zeros((6, 6)) if is_given else covariance_of(fit),
        )
        found = self._with_dynamic(found, frame, timing_ms)
        if is_news(fit, cloud, self.config):
            with timed(timing_ms, 'keyframe'):
                added = self.keyframes.add_after(
                    keyframe, frame.view, T_keyframe_camera, cloud, found.scale_source
                )
                added.hide(found.dynamic)
                if found.covariance is not None:
                    added.covariance = found.covariance
                self._has_given |= is_given
                if not self._has_given:  # given poses are not to be moved
                    self.keyframes.close_loops(added)
            found = replace(found, keyframe=added, T_keyframe_camera=np.eye(4), is_keyframe=True)
        return found

    def _with_dynamic(
        self, found: TrackedFrame, frame: SequenceFrame, timing_ms: dict[str, float]
    ) -> TrackedFrame:
        """Return the frame with what moves in it by itself."""
        pose = found.T_world_camera
        camera = frame.view.camera or self.keyframes.unknown.pinhole
        if self._moving is None or pose is None or camera is None:
            return found
        with timed(timing_ms, 'dynamic'):
            dynamic = self._moving.find(frame.view.image, camera, found.cloud, pose)
        return replace(found, dynamic=dynamic)
