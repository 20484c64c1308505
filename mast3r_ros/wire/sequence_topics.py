# SPDX-License-Identifier: Apache-2.0
"""The topics of a followed camera, below the node's own name."""

from __future__ import annotations

ODOMETRY, PATH, KEYFRAME, MAP = 'odometry', 'path', 'keyframe', 'map'

SEQUENCE_TOPICS = {
    ODOMETRY: 'nav_msgs/msg/Odometry',
    PATH: 'nav_msgs/msg/Path',
    KEYFRAME: 'geometry_msgs/msg/PoseStamped',
    MAP: 'sensor_msgs/msg/PointCloud2',
}
"""The type of each."""

SEQUENCE_MEANINGS = {
    ODOMETRY: "Each placed frame: where the camera's optical frame is, and how sure that is.",
    PATH: 'The whole way as it is known now, thinned to 2000 poses.',
    KEYFRAME: 'Each new keyframe.',
    MAP: 'The map; the latest also for those who come late.',
}
"""What each holds."""
