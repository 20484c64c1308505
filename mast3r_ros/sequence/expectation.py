# SPDX-License-Identifier: Apache-2.0
"""Where a frame is to be expected before its picture was looked at: where the one before was, or
where the odometry says.
"""

from __future__ import annotations

import numpy as np

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.products import Cloud
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import View
from mast3r_ros.sequence.frames import SequenceFrame, TrackedFrame, TrackingState
from mast3r_ros.sequence.keyframe import Keyframe
from mast3r_ros.sequence.pair_fit import PairFit

_TURNS_AGREE_DEG = 5.0  # of what pictures tell and what is given; chance seldom gets so near


def as_given(
    frame: SequenceFrame, keyframe: Keyframe, cloud: Cloud | None, reason: str
) -> TrackedFrame:
    """Return a frame whose pose is given and whose pictures tell nothing against a keyframe.

    :param cloud: its points in metres, where its own stereo pair shows them.
    :param reason: why its pictures tell no pose.
    """
    assert frame.T_world_camera is not None
    return TrackedFrame(
        frame.view.stamp_ns,
        TrackingState.GIVEN,
        keyframe,
        in_keyframe(keyframe, frame.T_world_camera),
        cloud,
        scale_source=keyframe.scale_source,
        reason=reason,
        covariance=np.zeros((6, 6)),
    )


def agreeing(fit: PairFit, frame: SequenceFrame) -> PairFit:
    """Return a pair that is not believed where it tells another turn than two given poses."""
    if fit.reason or frame.T_world_camera is None:
        return fit
    off = fit.T_keyframe_camera[:3, :3].T @ in_keyframe(fit.keyframe, frame.T_world_camera)[:3, :3]
    turn_deg = float(np.degrees(np.arccos(np.clip((np.trace(off) - 1.0) / 2.0, -1.0, 1.0))))
    if turn_deg < _TURNS_AGREE_DEG:
        return fit
    return PairFit(fit.keyframe, f'its turn is {turn_deg:.0f} degrees off the one that is given')


class Expectation:
    """Remembers the last frame that was placed, and its odometry."""

    def __init__(self) -> None:
        self.last: TrackedFrame | None = None
        self.last_view: View | None = None
        self.is_lost = False
        """Whether the pictures told no pose at the last frame."""
        self._last_odometry: Matrix | None = None

    def remember(self, frame: SequenceFrame, found: TrackedFrame) -> None:
        """Take in what became of a frame."""
        self.is_lost = found.state in (TrackingState.LOST, TrackingState.BRIDGED)
        if found.state is not TrackingState.LOST:
            self.last, self.last_view = found, frame.view
            self._last_odometry = frame.T_odometry_camera

    def starts(self, frame: SequenceFrame, keyframe: Keyframe) -> tuple[Matrix, ...]:
        """Return where the frame may be: T_frame_keyframe, in the keyframe's unit."""
        expected = self._by_odometry(frame, keyframe)
        if expected is None and self.last is not None and not self.is_lost:
            expected = self.last.T_world_camera
        if expected is None:
            return ()
        return (np.asarray(np.linalg.inv(in_keyframe(keyframe, expected))),)

    def bridged(
        self, frame: SequenceFrame, keyframe: Keyframe, reason: str
    ) -> TrackedFrame | None:
        """Return the frame where the odometry puts it, None where there is none.

        :param reason: why its pictures tell no pose.
        """
        expected = self._by_odometry(frame, keyframe)
        if expected is None:
            return None
        return TrackedFrame(
            frame.view.stamp_ns,
            TrackingState.BRIDGED,
            keyframe,
            in_keyframe(keyframe, expected),
            scale_source=keyframe.scale_source,
            reason=reason,
        )

    def _by_odometry(self, frame: SequenceFrame, keyframe: Keyframe) -> Matrix | None:
        """Return where the odometry puts the frame in the world; None where it cannot.

        Its metres are of use only where the world is in metres too.
        """
        now, before = frame.T_odometry_camera, self._last_odometry
        if now is None or before is None or self.last is None:
            return None
        pose = self.last.T_world_camera
        if pose is None or keyframe.scale_source is ScaleSource.NONE:
            return None
        return np.asarray(pose @ np.linalg.inv(before) @ now)


def in_keyframe(keyframe: Keyframe, T_world_camera: Matrix) -> Matrix:
    """Return a pose of the world in a keyframe, in its unit."""
    T = np.linalg.inv(keyframe.T_world_camera) @ T_world_camera
    T[:3, 3] /= keyframe.scale
    return np.asarray(T)
