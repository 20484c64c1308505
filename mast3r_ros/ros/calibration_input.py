# SPDX-License-Identifier: Apache-2.0
"""One camera's calibration topic: the last CameraInfo as a camera, or what is wrong with it."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo

from mast3r_ros.core.cameras import Camera
from mast3r_ros.ros import qos
from mast3r_ros.ros.subscriptions import Subscriptions
from mast3r_ros.wire.calibration import Calibration


class CalibrationInput:
    """Keeps the calibration that came last; the same object as long as nothing changes in it.

    :param topic: full name.
    :param rectified: whether the images are.
    """

    def __init__(self, topic: str, *, rectified: bool) -> None:
        self.topic = topic
        self._latest = Calibration(rectified=rectified)
        self._hears_latched = False

    @property
    def camera(self) -> Camera | None:
        """The camera, as soon as a usable calibration has come."""
        return self._latest.camera

    @property
    def problem(self) -> str | None:
        """What is wrong with the calibration that came last."""
        problem = self._latest.problem
        return None if problem is None else f'{self.topic}: {problem}'

    def open(self, subscriptions: Subscriptions) -> None:
        """Begin to listen."""
        self._hears_latched = False
        subscriptions.add(CameraInfo, self.topic, self._latest.take, qos.calibration_input())

    def look(self, subscriptions: Subscriptions) -> None:
        """Where none has come yet, also listen to one that was sent once before."""
        if self._hears_latched or self._latest.has_come:
            return
        if subscriptions.is_latched(self.topic):
            self._hears_latched = True
            subscriptions.add_latched(CameraInfo, self.topic, self._latest.take)
