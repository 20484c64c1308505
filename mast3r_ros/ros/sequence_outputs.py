# SPDX-License-Identifier: Apache-2.0
"""What is published of a followed camera: where it is, its way, and the map."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher

from mast3r_ros.config import NodeConfig
from mast3r_ros.core.views import View
from mast3r_ros.errors import ConfigError
from mast3r_ros.ros import qos
from mast3r_ros.ros.publishers import Publishers, message_class
from mast3r_ros.sequence.follower import Follower
from mast3r_ros.sequence.frames import TrackedFrame
from mast3r_ros.sequence.sequence_map import LayingTime
from mast3r_ros.sequence.voxel_map import MapCloud
from mast3r_ros.wire.cloud_packing import CloudPacker
from mast3r_ros.wire.message_fields import MessageFields, make_by_attributes
from mast3r_ros.wire.pose_fields import (
    in_ros_world,
    odometry_fields,
    path_fields,
    points_in_ros_world,
    pose_stamped_fields,
    tf_fields,
)
from mast3r_ros.wire.sequence_topics import KEYFRAME, MAP, ODOMETRY, PATH, SEQUENCE_TOPICS
from mast3r_ros.wire.stamps import header_fields

_MOST_OF_THE_TIME = 0.1  # of the engine's thread, that sending map and path may take


class SequenceOutputs:
    """Publishes where a camera is to whoever listens.

    :param on_change: called when somebody begins or ceases to listen, in the executor's thread.
    """

    def __init__(
        self, node: LifecycleNode, config: NodeConfig, on_change: Callable[[], None]
    ) -> None:
        self._config = config
        self._node = node
        self._next_summary_s = float('-inf')  # when map and path are due
        self._laying_time = LayingTime(time.monotonic())
        self._tf = _tf_publisher(node) if config.sequence.publish_tf else None
        self.publishers = Publishers(node, SEQUENCE_TOPICS, on_change, latched=[MAP])

    @property
    def needed(self) -> bool:
        """Whether the camera is to be followed: somebody listens, or that is asked for anyway."""
        always = self._config.output.always_on or self._config.sequence.publish_tf
        return always or self.publishers.any_heard

    def configure(self, config: NodeConfig) -> None:
        """Take over changed settings."""
        self._config = config

    def publish(self, follower: Follower, found: TrackedFrame, view: View) -> None:
        """Publish what is news after a frame; in the engine's thread."""
        if found.T_world_camera is not None:
            self._publish_pose(found, view)
        # Also while nobody wants the map: who asks for it later must not be given all that time.
        budget_s = self._laying_time.after_frame(time.monotonic())
        if self._is_wanted(MAP):
            follower.map.lay(budget_s)
        now_s = time.monotonic()
        if now_s >= self._next_summary_s:
            self._publish_summary(follower, found.stamp_ns)
            spent_s = time.monotonic() - now_s
            rest_s = max(self._config.sequence.map_period_s, spent_s / _MOST_OF_THE_TIME)
            self._next_summary_s = now_s + rest_s

    def close(self) -> None:
        """Destroy the publishers."""
        self.publishers.close()
        if self._tf is not None:
            self._node.destroy_publisher(self._tf)
            self._tf = None

    def _publish_pose(self, found: TrackedFrame, view: View) -> None:
        assert found.T_world_camera is not None
        T = in_ros_world(found.T_world_camera)
        stamp_ns, frame = found.stamp_ns, self._config.sequence.world_frame
        self._send(
            ODOMETRY, lambda: odometry_fields(stamp_ns, frame, view.frame_id, T, found.covariance)
        )
        if found.is_keyframe:
            self._send(KEYFRAME, lambda: pose_stamped_fields(stamp_ns, frame, T))
        if self._tf is not None:
            fields = tf_fields(stamp_ns, frame, view.frame_id, T)
            self._tf.publish(make_by_attributes(fields, message_class))

    def _publish_summary(self, follower: Follower, stamp_ns: int) -> None:
        frame = self._config.sequence.world_frame

        def path() -> MessageFields:
            poses = [(at_ns, in_ros_world(T)) for at_ns, T in follower.way.poses()]
            return path_fields(stamp_ns, frame, poses)

        self._send(PATH, path)
        self._send(MAP, lambda: _map_fields(stamp_ns, frame, follower.map.cloud_so_far()))

    def _is_wanted(self, name: str) -> bool:
        return self.publishers.is_heard(name) or self._config.output.always_on

    def _send(self, name: str, make: Callable[[], MessageFields]) -> None:
        if self._is_wanted(name):
            self.publishers.send(name, make())


def _map_fields(stamp_ns: int, frame_id: str, cloud: MapCloud) -> MessageFields:
    points, colors, weights = cloud.points, cloud.colors, cloud.weights
    if not len(cloud):  # one point that is none: an empty cloud would be no picture
        points, weights = np.full((1, 3), np.nan, np.float32), np.zeros(1, np.float32)
        colors = np.zeros((1, 3), np.uint8)
    header = header_fields(stamp_ns, frame_id)
    in_world = points_in_ros_world(points)
    return CloudPacker().pack_arrays(header, in_world[None], colors[None], weights[None])


def _tf_publisher(node: LifecycleNode) -> Publisher:
    try:
        kind = message_class('tf2_msgs/msg/TFMessage')
    except ImportError:
        name = 'sequence.publish_tf'
        text = f'{name} is true and tf2_msgs is not installed; install it or set {name} to false'
        raise ConfigError([(name, text)]) from None
    return node.create_publisher(kind, '/tf', qos.transforms())
