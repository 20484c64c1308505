# SPDX-License-Identifier: Apache-2.0
"""Made-up cameras that publish real messages, built without the package's own conversions."""

from __future__ import annotations

import array

import cv2
import numpy as np
from raw_images import image_message
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image


def set_stamp(message, stamp_ns, frame_id=''):
    """Set the header of a message and return it."""
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(int(stamp_ns), 10**9)
    message.header.frame_id = frame_id
    return message


def as_image(fields, stamp_ns=0, frame_id=''):
    """Return a real Image of the fields that ``raw_images`` makes."""
    message = Image()
    message.width, message.height = fields.width, fields.height
    message.encoding, message.step = fields.encoding, fields.step
    message.is_bigendian = fields.is_bigendian
    message.data = array.array('B', bytes(fields.data))
    return set_stamp(message, stamp_ns, frame_id)


def rgb_image(image, stamp_ns, frame_id='', encoding='rgb8', **layout):
    """Return an RGB picture as an Image."""
    return as_image(image_message(image, encoding, **layout), stamp_ns, frame_id)


def mask_image(mask, stamp_ns):
    """Return a mask as an Image in mono8."""
    pixels = np.where(mask, 255, 0).astype(np.uint8)
    return rgb_image(np.repeat(pixels[..., None], 3, axis=2), stamp_ns, encoding='mono8')


def compressed_image(image, stamp_ns, codec='png', frame_id=''):
    """Return an RGB picture as a CompressedImage."""
    message = CompressedImage()
    message.format = f'rgb8; {codec} compressed bgr8'
    _, data = cv2.imencode(f'.{codec}', cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    message.data = array.array('B', data.tobytes())
    return set_stamp(message, stamp_ns, frame_id)


def camera_info(camera, stamp_ns=0, frame_id=''):
    """Return a calibration as a CameraInfo."""
    message = CameraInfo(width=camera.width, height=camera.height)
    message.distortion_model = camera.distortion_model
    message.d = array.array('d', camera.distortion)
    message.k = camera.K.reshape(-1)
    message.r = (np.eye(3) if camera.R is None else camera.R).reshape(-1)
    P = np.hstack([camera.K, np.zeros((3, 1))]) if camera.P is None else camera.P
    message.p = P.reshape(-1)
    return set_stamp(message, stamp_ns, frame_id)


class CameraDouble:
    """Publishes images, and calibration and masks beside them.

    :param reliable: whether images are sent reliably; most cameras do not.
    """

    def __init__(self, node, topic, *, compressed=False, reliable=True, frame_id='optical'):
        self.topic = f'{topic}/compressed' if compressed else topic
        self.frame_id = frame_id
        self.info = None
        self._compressed = compressed
        self._node = node
        reliability = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        profile = QoSProfile(depth=100, reliability=reliability)
        beside = topic.rpartition('/')[0]
        self._images = node.create_publisher(
            CompressedImage if compressed else Image, self.topic, profile
        )
        self._infos = node.create_publisher(CameraInfo, f'{beside}/camera_info'.lstrip('/'), 10)
        self._masks = node.create_publisher(Image, f'{beside}/mask'.lstrip('/'), 10)

    def is_heard(self):
        """Whether somebody subscribes to the images."""
        return self._images.get_subscription_count() > 0

    def calibrate(self, camera):
        """Set the calibration that is published until the node has it."""
        self.info = None if camera is None else camera_info(camera, frame_id=self.frame_id)

    def send_info(self, message):
        self._infos.publish(message)

    def picture(self, image, stamp_ns):
        """Return an RGB picture as the message that this camera would publish."""
        if self._compressed:
            return compressed_image(image, stamp_ns, frame_id=self.frame_id)
        return rgb_image(image, stamp_ns, self.frame_id)

    def show(self, image, stamp_ns):
        """Publish an RGB picture, whether or not anybody hears it."""
        self.send(self.picture(image, stamp_ns))

    def send(self, message):
        """Publish any image message."""
        self._images.publish(message)

    def send_mask(self, mask, stamp_ns):
        """Publish a mask, True takes part."""
        self.send_mask_message(mask_image(mask, stamp_ns))

    def send_mask_message(self, message):
        self._masks.publish(message)

    def hears_masks(self):
        """Whether somebody subscribes to the masks."""
        return self._masks.get_subscription_count() > 0

    def close(self):
        """Stop publishing images."""
        self._node.destroy_publisher(self._images)
