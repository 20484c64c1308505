# SPDX-License-Identifier: Apache-2.0
"""Follows a camera's calibration: a new camera when it has changed, the same object otherwise."""

from __future__ import annotations

from typing import Any

from mast3r_ros.core.cameras import Camera
from mast3r_ros.errors import InvalidInput


class Calibration:
    """The latest ``sensor_msgs/CameraInfo`` of one camera, as a camera.

    :param rectified: the images are rectified: P holds, and there is no distortion.
    """

    def __init__(self, *, rectified: bool = False) -> None:
        self.camera: Camera | None = None
        self.problem: str | None = None  # why the latest message gives no camera
        self._rectified = rectified
        self._seen: tuple[Any, ...] | None = None

    @property
    def has_come(self) -> bool:
        """Whether there was any message, usable or not."""
        return self._seen is not None

    def take(self, message: Any) -> None:
        """Take a message over when it differs from the one before."""
        contents = _contents(message)
        if contents == self._seen:
            return
        self._seen = contents
        try:
            self.camera = Camera.from_info(message, rectified=self._rectified)
            self.problem = None
        except InvalidInput as error:
            self.camera = None
            self.problem = str(error)


def _contents(message: Any) -> tuple[Any, ...]:
    """Return all but the header."""
    roi = message.roi
    return (
        message.width,
        message.height,
        message.distortion_model,
        tuple(message.d),
        *(array.tobytes() for array in (message.k, message.r, message.p)),
        (message.binning_x, message.binning_y),
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
    )
