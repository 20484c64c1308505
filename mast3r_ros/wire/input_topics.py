# SPDX-License-Identifier: Apache-2.0
"""The input topics of each mode, what lies beside an image topic, and what its name tells."""

from __future__ import annotations

from mast3r_ros.config import PairingMode, Rectified

CAMERA_TOPICS = {
    PairingMode.STEREO: (('left', 'left/image'), ('right', 'right/image')),
    PairingMode.SEQUENCE: (('image', 'image'),),
}
"""Of each mode the pairing's names of its cameras, each with its image topic."""

ODOMETRY_SETTING = 'sequence.odometry_topic'
"""Names a ``nav_msgs/Odometry`` that a followed camera listens to."""

COMPRESSED = '/compressed'
"""What image_transport puts behind an image topic's name."""


def beside(image_topic: str, name: str) -> str:
    """Return the topic of that name beside an image topic, such as ``camera_info``."""
    folder, slash, _ = image_topic.removesuffix(COMPRESSED).rpartition('/')
    return f'{folder}{slash}{name}'


def counts_as_rectified(rule: Rectified, image_topic: str) -> bool:
    """Whether the images of a topic are taken for rectified ones."""
    if rule is Rectified.AUTO:
        return 'rect' in image_topic
    return rule is Rectified.TRUE
