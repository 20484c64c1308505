# SPDX-License-Identifier: Apache-2.0
"""The camera's poses of the last while: looked up by stamp, and drawn as a path."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.rotations import quaternion_of, rotation_of
from mast3r_ros.viewer.parts import PosePart

Matrix = NDArray[np.float64]

_MOST = 4000
_WIDEST_GAP_NS = 500_000_000  # between two poses that may be joined by a straight line

# A camera that looks along the world's x axis, z up: where the view stands without poses.
LEVEL: Matrix = np.array(
    [[0.0, 0.0, 1.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


class PoseTrail:
    """Poses by stamp, the oldest forgotten first."""

    def __init__(self) -> None:
        self._poses: deque[PosePart] = deque(maxlen=_MOST)

    def __len__(self) -> int:
        return len(self._poses)

    def clear(self) -> None:
        """Forget all poses."""
        self._poses.clear()

    def add(self, pose: PosePart) -> None:
        """Take a pose in; one older than the last means that time began anew."""
        if self._poses and pose.stamp_ns <= self._poses[-1].stamp_ns:
            if pose.stamp_ns == self._poses[-1].stamp_ns:
                return
            self._poses.clear()
        self._poses.append(pose)

    def at(self, stamp_ns: int) -> Matrix | None:
        """Return the pose at a time, between its neighbours; None where none is near."""
        poses = list(self._poses)
        place = bisect_left(poses, stamp_ns, key=lambda pose: pose.stamp_ns)
        if place < len(poses) and poses[place].stamp_ns == stamp_ns:
            return poses[place].T_world_camera
        if not 0 < place < len(poses):
            return None
        before, after = poses[place - 1], poses[place]
        gap_ns = after.stamp_ns - before.stamp_ns
        if gap_ns > _WIDEST_GAP_NS:
            return None
        return _between(before, after, (stamp_ns - before.stamp_ns) / gap_ns)

    def path(self) -> NDArray[np.float32]:
        """Return the camera's places (N, 3) in the world, oldest first."""
        places = [pose.T_world_camera[:3, 3] for pose in list(self._poses)]
        return np.array(places, np.float32).reshape(-1, 3)


def heading_of(T_world_camera: Matrix) -> float:
    """Return where a camera looks, turned about the world's z axis from its x axis, in radians."""
    forward = T_world_camera[:3, 2]
    return float(np.arctan2(forward[1], forward[0]))


def _between(before: PosePart, after: PosePart, share: float) -> Matrix:
    a, b = before.T_world_camera, after.T_world_camera
    q_a, q_b = quaternion_of(a[:3, :3]), quaternion_of(b[:3, :3])
    if q_a @ q_b < 0:
        q_b = -q_b
    T = np.eye(4)
    T[:3, :3] = rotation_of((1 - share) * q_a + share * q_b)
    T[:3, 3] = (1 - share) * a[:3, 3] + share * b[:3, 3]
    return T
