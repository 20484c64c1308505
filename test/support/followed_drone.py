# SPDX-License-Identifier: Apache-2.0
"""A node that follows a simulated drone by its two cameras, frame by frame."""

from __future__ import annotations

import numpy as np
from drone_flight import flight
from ros_world import GEOMETRIC, until

from mast3r_ros.core.rotations import rotation_of
from mast3r_ros.wire.pose_fields import R_ROS_OPTICAL

FOLLOWING = {
    **GEOMETRIC,
    'sequence.enable': True,
    'sequence.still_px': 0.0,
    'sequence.map_period_s': 0.1,
}
SHOTS = 8
FIRST_NS = 10**9


def matrix_of(pose):
    """Return a geometry_msgs/Pose as 4x4."""
    T, at, turn = np.eye(4), pose.position, pose.orientation
    T[:3, :3] = rotation_of([turn.x, turn.y, turn.z, turn.w])
    T[:3, 3] = at.x, at.y, at.z
    return T


def true_pose(shot, first):
    """Return where a camera is in a world that begins at the first one, in the axes of ROS."""
    turn = np.eye(4)
    turn[:3, :3] = R_ROS_OPTICAL
    return turn @ np.linalg.inv(first.T_world_left) @ shot.T_world_left


class Drone:
    """A node that follows, its two cameras, and what is heard of it."""

    def __init__(self, world, *topics, settings=FOLLOWING, **options):
        self.world = world
        self.node = world.start(settings, **options)
        self.heard = dict(zip(topics, self._listen(topics), strict=True))
        self.shots = flight(SHOTS)
        self.cameras = world.stereo()
        for camera, calibration in zip(self.cameras, self.shots[0].cameras, strict=True):
            camera.calibrate(calibration)
        world.ready(*self.cameras)

    @property
    def following(self):
        return self.node.session.following

    def fly(self, start=0, stop=SHOTS, late_ns=0):
        """Show some pairs, each once the one before was followed; return their stamps."""
        stamps = []
        for shot in self.shots[start:stop]:
            frames = self.following.now.frames
            stamps.append(FIRST_NS + late_ns + shot.stamp_ns)
            self.world.show(self.cameras, (shot.left, shot.right), stamps[-1])
            until(lambda before=frames: self.following.now.frames != before, 'a frame is followed')
        return stamps

    def _listen(self, topics):
        heard = self.world.listen(*topics) if topics else []
        return [heard] if len(topics) == 1 else heard
