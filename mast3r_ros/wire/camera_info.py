# SPDX-License-Identifier: Apache-2.0
"""A camera as the fields of a ``sensor_msgs/CameraInfo``, for images of exactly its size.

K and P are the camera's own, so scaled and cut with its image; D and R tell of a raw image and are
zero and one for a rectified one. :meth:`Camera.from_info` reads them back.
"""

from __future__ import annotations

import array

import numpy as np

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.message_fields import MessageFields

_NO_DISTORTION = ('plumb_bob', (0.0,) * 5)  # without any, every other model means something else


def camera_info_fields(header: MessageFields, camera: Camera) -> MessageFields:
    """Return the camera, of a raw or a rectified image, with all it carries.

    Without a stereo rectification of its own, its rectified image is the undistorted one.
    """
    R = np.eye(3) if camera.R is None else camera.R
    P = np.hstack([camera.K, np.zeros((3, 1))]) if camera.P is None else camera.P
    return _fields(header, camera, R, P)


def depth_camera_info_fields(header: MessageFields, grid: Grid) -> MessageFields:
    """Return the camera of what lies on a grid: depth, confidence, points.

    Those are in the frame of this very camera. P therefore carries no shift towards the first
    camera of a stereo pair, and a point of a pixel projects onto that pixel.
    """
    if grid.camera is None:
        raise InvalidInput(
            'there is no camera calibration for the depth image; publish a camera_info'
        )
    whole = camera_info_fields(header, grid.camera)
    P = whole['p'].reshape(3, 4).copy()
    P[:, 3] = 0.0
    return MessageFields(whole.type_name, {**whole.values, 'p': P.reshape(-1)})


def _fields(header: MessageFields, camera: Camera, R: Matrix, P: Matrix) -> MessageFields:
    model, coefficients = (
        (camera.distortion_model, camera.distortion) if camera.is_distorted else _NO_DISTORTION
    )
    return MessageFields(
        'sensor_msgs/msg/CameraInfo',
        {
            'header': header,
            'height': camera.height,
            'width': camera.width,
            'distortion_model': model,
            'd': array.array('d', coefficients),
            'k': camera.K.reshape(-1).copy(),
            'r': np.asarray(R, np.float64).reshape(-1).copy(),
            'p': np.asarray(P, np.float64).reshape(-1).copy(),
            'binning_x': 0,
            'binning_y': 0,
            'roi': MessageFields(
                'sensor_msgs/msg/RegionOfInterest',
                {'x_offset': 0, 'y_offset': 0, 'height': 0, 'width': 0, 'do_rectify': False},
            ),
        },
    )
