# SPDX-License-Identifier: Apache-2.0
"""A SLAM front end in one file: matches with 3D points come in, relative poses go out.

    python3 slam_subscriber.py --ros-args -r camera_info:=/camera/camera_info

``camera_info`` is that of view 2: of the one camera, or of the right one of a stereo pair. Each
pair prints a line of JSON with the pose of camera 1 in the frame of camera 2. In a sequence view 1
is the newer frame, so that is how the camera moved; in a stereo pair, how the two are mounted.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo
from std_msgs.msg import Header

from mast3r_ros import Camera
from mast3r_ros.msg import MatchArray

FEWEST_MATCHES = 30
AGREES_PX = 2.0
ANY_WAY = qos_profile_sensor_data  # best effort takes what is sent reliably, too
COLUMNS = ('u_1', 'v_1', 'u_2', 'v_2', 'x', 'y', 'z', 'confidence')


@dataclass
class Correspondences:
    """One pair as a SLAM front end takes it; the node's ``matching.top_k`` keeps N small."""

    uv_1: NDArray[np.float32]  # (N, 2) px of view 1's input image
    uv_2: NDArray[np.float32]  # (N, 2) px of view 2's input image
    points: NDArray[np.float32]  # (N, 3) in the optical frame of camera 1
    confidence: NDArray[np.float32]  # (N,), to be compared within one confidence_kind only
    is_metric: bool  # points in metres; else in a unit that is another one in every pair

    @classmethod
    def of(cls, message: MatchArray) -> Correspondences:
        """Take the matches that have a point; none where the message carries no points."""
        columns = [np.asarray(getattr(message, n), np.float32)[: len(message.x)] for n in COLUMNS]
        table = np.stack(columns, axis=1)
        table = table[np.isfinite(table).all(axis=1)]
        is_metric = message.scale_source in ('model', 'stereo_baseline')
        return cls(table[:, :2], table[:, 2:4], table[:, 4:7], table[:, 7], is_metric)


def relative_pose(found: Correspondences, camera_2: Camera) -> tuple[NDArray[np.float64], int]:
    """Return the pose of camera 1 in the frame of camera 2, 4x4, and how many matches agree."""
    rays = camera_2.unproject(found.uv_2)  # without the lens's distortion
    seen = np.isfinite(rays).all(axis=1)
    points, xy = found.points[seen].astype(np.float64), rays[seen, :2]
    if len(xy) < FEWEST_MATCHES:
        return np.eye(4), 0
    limit, camera = AGREES_PX / camera_2.fx, (np.eye(3), None)
    fits, turn, shift, agree = cv2.solvePnPRansac(
        points, xy, *camera, reprojectionError=limit, confidence=0.999, flags=cv2.SOLVEPNP_AP3P
    )
    if not fits or len(agree) < FEWEST_MATCHES:
        return np.eye(4), 0
    agree = agree.ravel()
    turn, shift = cv2.solvePnPRefineLM(points[agree], xy[agree], *camera, turn, shift)
    T_2_1 = np.eye(4)
    T_2_1[:3, :3], T_2_1[:3, 3] = cv2.Rodrigues(turn)[0], shift.ravel()
    return T_2_1, len(agree)


class SlamSubscriber(Node):
    """Turns every message of matches into correspondences and a relative pose."""

    def __init__(self) -> None:
        super().__init__('slam_subscriber')
        self._is_rectified = self.declare_parameter('rectified', False).value
        self._info = CameraInfo()
        # Matches are sent reliably; ten of them may wait while a pose is computed.
        self.create_subscription(MatchArray, 'mast3r/matches', self._take, QoSProfile(depth=10))
        self.create_subscription(CameraInfo, 'camera_info', self._calibrate, ANY_WAY)
        # Matches have points while somebody listens to a topic that is made of the cloud. This is
        # the smallest; a SLAM system that wants the cloud subscribes to mast3r/points instead.
        smallest = 'mast3r/depth/camera_info'
        self.create_subscription(CameraInfo, smallest, lambda _: None, ANY_WAY)

    def _calibrate(self, info: CameraInfo) -> None:
        self._info = info

    def _take(self, message: MatchArray) -> None:
        if (self._info.width, self._info.height) != (message.width_2, message.height_2):
            self.get_logger().warning(
                'no camera_info of view 2; remap camera_info to it', throttle_duration_sec=5.0
            )
            return
        found = Correspondences.of(message)
        camera_2 = Camera.from_info(self._info, rectified=self._is_rectified)
        T_2_1, agree = relative_pose(found, camera_2)  # a SLAM system takes over here
        line = {
            'stamps': [text_of(message.header), text_of(message.header_2)],
            'matches': len(message.u_1),
            'agree': agree,
            'unit': 'm' if found.is_metric else 'unknown',
            'T_2_1': T_2_1.tolist() if agree else None,
        }
        print(json.dumps(line), flush=True)


def text_of(header: Header) -> str:
    """Return the seconds of a stamp with all nanoseconds, which a float would lose."""
    return f'{header.stamp.sec}.{header.stamp.nanosec:09d}'


if __name__ == '__main__':
    rclpy.init()
    with suppress(KeyboardInterrupt, ExternalShutdownException):
        rclpy.spin(SlamSubscriber())
