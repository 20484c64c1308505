# SPDX-License-Identifier: Apache-2.0
"""What goes into a tracker and what comes out: frames of a moving camera, and where they were."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.products import Cloud
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import MaskArray, View
from mast3r_ros.sequence.keyframe import Keyframe


@dataclass(frozen=True, eq=False)
class SequenceFrame:
    """One exposure of the moving camera.

    :param view: the picture that is followed.
    :param right: the other picture of a stereo pair, which gives depth in metres.
    :param T_right_left: pose of the stereo pair.
    :param T_world_camera: where the camera stood, where that is known from elsewhere.
    :param T_odometry_camera: the same as wheels or an inertial unit tell it, in metres and in
        their own frame; only the motion from frame to frame counts.
    """

    view: View
    right: View | None = None
    T_right_left: Matrix | None = None
    T_world_camera: Matrix | None = None
    T_odometry_camera: Matrix | None = None


class TrackingState(str, enum.Enum):
    """What became of a frame."""

    STARTED = 'started'
    """The first frame: the world begins at its camera."""
    TRACKED = 'tracked'
    """Its pose was found against the last keyframe."""
    STILL = 'still'
    """Nothing moved since the frame before: that one's pose holds."""
    RELOCALISED = 'relocalised'
    """Its pose was found against an earlier keyframe."""
    GIVEN = 'given'
    """Its pose was given."""
    BRIDGED = 'bridged'
    """Its pictures tell no pose; it is where the odometry says."""
    LOST = 'lost'
    """Its pose is not known."""


@dataclass(frozen=True, eq=False)
class TrackedFrame:
    """Where one frame was.

    :param keyframe: what its pose refers to; when that moves, the frame moves along.
    :param T_keyframe_camera: its pose there, in the keyframe's unit.
    :param cloud: its points in its own frame, in the world's unit at that time.
    :param dynamic: (H, W) on the cloud's grid, True where something moves by itself.
    :param covariance: (6, 6) of the pose, as in covariance.py; None where nothing is known of it.
    :param reason: why it is lost, or what else there is to say.
    """

    stamp_ns: int
    state: TrackingState
    keyframe: Keyframe | None = None
    T_keyframe_camera: Matrix | None = None
    cloud: Cloud | None = None
    dynamic: MaskArray | None = None
    scale_source: ScaleSource = ScaleSource.NONE
    matches: int = 0
    inlier_share: float = 0.0
    is_keyframe: bool = False
    reason: str = ''
    covariance: Matrix | None = None
    timing_ms: dict[str, float] = field(default_factory=dict)

    @property
    def T_world_camera(self) -> NDArray[np.float64] | None:
        """The pose in the world as it is known now; None for a lost frame."""
        if self.keyframe is None or self.T_keyframe_camera is None:
            return None
        T = self.T_keyframe_camera.copy()
        T[:3, 3] *= self.keyframe.scale
        return np.asarray(self.keyframe.T_world_camera @ T)
