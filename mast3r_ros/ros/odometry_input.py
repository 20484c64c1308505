# SPDX-License-Identifier: Apache-2.0
"""The odometry that a followed camera listens to: poses by stamp, and what is wrong with them."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Any

from nav_msgs.msg import Odometry
from rclpy.exceptions import InvalidTopicNameException
from rclpy.lifecycle import LifecycleNode
from rclpy.validate_topic_name import validate_topic_name

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.errors import ConfigError, InvalidInput
from mast3r_ros.ros import qos
from mast3r_ros.ros.odometry_facts import OdometryFacts
from mast3r_ros.ros.subscriptions import Subscriptions
from mast3r_ros.sequence.odometry import RecentOdometry
from mast3r_ros.sequence_config import SequenceConfig
from mast3r_ros.wire.odometry_decoding import decode_odometry, pose_of_numbers


class OdometryInput:
    """Subscribes to an odometry while it is open."""

    def __init__(self, node: LifecycleNode, config: SequenceConfig) -> None:
        self.topic = _resolved(node, config.odometry_topic)
        self.use = config.odometry_use
        self._node = node
        self._tolerance_s = config.odometry_tolerance_s
        offset = config.odometry_to_camera
        self._T_child_camera = pose_of_numbers('sequence.odometry_to_camera', offset)
        self._is_of_camera = not any(offset)
        self._recent = RecentOdometry()
        self._subscriptions = Subscriptions(node)
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._last_arrival_s: float | None = None
        self._problem = ''
        self._child_frame = self._camera_frame = ''

    @property
    def drops(self) -> dict[str, int]:
        """How many messages could not be used, by reason."""
        with self._lock:
            return {'odometry_invalid': self._counts['invalid']} if self._counts['invalid'] else {}

    def nearest(self, stamp_ns: int, frame_id: str) -> Matrix | None:
        """Return where a camera is in the odometry's frame at a time; None where nobody says.

        :param frame_id: of the camera.
        """
        T = self._recent.nearest(stamp_ns, round(self._tolerance_s * 1e9))
        with self._lock:
            self._camera_frame = frame_id
            if self._is_of_another():
                return None
            if T is None:
                self._counts['missed'] += 1
        return T

    def open(self) -> None:
        """Begin to listen."""
        if not self._subscriptions:
            self._subscriptions.add(Odometry, self.topic, self._take, qos.odometry_input())

    def close(self) -> None:
        """Stop listening and forget what came."""
        self._subscriptions.close()
        self.reset()
        with self._lock:
            self._last_arrival_s = None

    def reset(self) -> None:
        """Forget what came."""
        self._recent.clear()

    def facts(self) -> OdometryFacts:
        """Return how it goes."""
        now_s = time.monotonic()
        with self._lock:
            counts = Counter(self._counts)
            silent_s = None if self._last_arrival_s is None else now_s - self._last_arrival_s
            child, problem = self._child_frame, self._problem
            camera = self._camera_frame
        return OdometryFacts(
            self.topic,
            self.use,
            publishers=int(self._node.count_publishers(self.topic)),
            received=counts['received'],
            silent_s=silent_s,
            invalid=counts['invalid'],
            problem=problem,
            missed=counts['missed'],
            tolerance_s=self._tolerance_s,
            incompatible=sum(self._subscriptions.incompatible.values()),
            child_frame=child if self._is_of_camera else camera,
            camera_frame=camera,
        )

    def _take(self, message: Any) -> None:
        try:
            stamp_ns, T_odometry_child = decode_odometry(message)
        except InvalidInput as error:
            with self._lock:
                self._counts['invalid'] += 1
                self._problem = str(error)
            return
        with self._lock:
            self._last_arrival_s = time.monotonic()
            self._child_frame = message.child_frame_id
            if self._is_of_another():
                self._counts['invalid'] += 1
                self._problem = f'they are of {self._child_frame}, not of {self._camera_frame}'
                return
        self._recent.add(stamp_ns, T_odometry_child @ self._T_child_camera)
        with self._lock:
            self._counts['received'] += 1

    def _is_of_another(self) -> bool:
        """Whether the poses are of another frame than the camera's, and nobody said how it lies.

        A name that is not known, or empty, is taken for the camera's.
        """
        known = self._child_frame and self._camera_frame
        return bool(known) and self._is_of_camera and self._child_frame != self._camera_frame


def _resolved(node: LifecycleNode, topic: str) -> str:
    try:
        validate_topic_name(topic)
    except InvalidTopicNameException as error:
        name = 'sequence.odometry_topic'
        text = f'{name} is {topic!r}, which cannot be the name of a topic such as /odom'
        raise ConfigError([(name, text)]) from error
    return str(node.resolve_topic_name(topic))
