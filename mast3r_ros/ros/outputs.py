# SPDX-License-Identifier: Apache-2.0
"""The node's publishers: who listens decides what is computed, packed and published."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher

from mast3r_ros.config import NodeConfig
from mast3r_ros.core.products import PairResult, Product
from mast3r_ros.ros import qos
from mast3r_ros.ros.events import on_matched_subscription
from mast3r_ros.wire.cloud_rate import CloudRate
from mast3r_ros.wire.message_fields import MessageFields, make_by_attributes
from mast3r_ros.wire.result_topics import RESULT_TOPICS, STATS_TOPIC, STATS_TYPE, ResultPacker
from mast3r_ros.wire.stats_fields import Publication, stats_fields

_TYPES = {topic.name: topic.type_name for topic in RESULT_TOPICS} | {STATS_TOPIC: STATS_TYPE}


class Outputs:
    """Publishes results to whoever listens.

    :param on_change: called when somebody begins or ceases to listen, in the executor's thread.
    """

    def __init__(
        self, node: LifecycleNode, config: NodeConfig, on_change: Callable[[], None]
    ) -> None:
        self._node = node
        self._on_change = on_change
        self._packer = ResultPacker(config)
        self._clouds = CloudRate()
        self._lock = threading.Lock()  # publishers may be destroyed while the engine publishes
        self._publishers: dict[str, Publisher] = {}
        self._listeners = dict.fromkeys(_TYPES, 0)
        try:
            for topic, type_name in _TYPES.items():
                self._publishers[topic] = self._publisher(type_name, topic)
        except Exception:
            self.close()
            raise

    @property
    def listened_to(self) -> bool:
        """Whether anybody listens to anything."""
        return any(self._listeners.values())

    def configure(self, config: NodeConfig) -> None:
        """Take over changed settings for the next result."""
        self._packer.config = config

    def wanted(self) -> Product:
        """Return what must be computed for those who listen."""
        if self._packer.config.output.always_on:
            return Product.ALL
        wanted = Product.NOTHING
        for topic in RESULT_TOPICS:
            if self._listeners[topic.name]:
                wanted |= topic.needs
        if wanted is Product.NOTHING and self._listeners[STATS_TOPIC]:
            return Product.CLOUD_1  # statistics of nothing would tell nothing
        return wanted

    def count_listeners(self) -> None:
        """Look who listens now; needed where the middleware does not tell (Humble)."""
        with self._lock:
            counts = {
                name: publisher.get_subscription_count()
                for name, publisher in self._publishers.items()
            }
        if counts != self._listeners:
            self._listeners = counts
            self._on_change()

    def publish(self, result: PairResult, drops: dict[str, int]) -> float:
        """Publish a result and return its age in milliseconds; in the engine's thread."""
        start = time.perf_counter()
        limit_hz = self._packer.config.output.cloud_rate_max_hz
        clouds_due = self._clouds.is_due(result.stamp_ns, limit_hz)
        for topic in RESULT_TOPICS:
            if self._is_heard(topic.name) and (clouds_due or not topic.is_cloud):
                self._send(topic.name, topic.pack(self._packer, result))
        age_ms = (self._node.get_clock().now().nanoseconds - result.stamp_ns) / 1e6
        if self._is_heard(STATS_TOPIC):
            publish_ms = (time.perf_counter() - start) * 1e3
            info = result.engine
            how = Publication(info.name, info.device, publish_ms, age_ms, drops)
            self._send(STATS_TOPIC, stats_fields(result, result.pair.view_1.frame_id, how))
        return age_ms

    def close(self) -> None:
        """Destroy the publishers; waits for a publication that is under way."""
        with self._lock:
            for publisher in self._publishers.values():
                self._node.destroy_lifecycle_publisher(publisher)
            self._publishers = {}
            self._listeners = dict.fromkeys(self._listeners, 0)

    def _publisher(self, type_name: str, name: str) -> Publisher:
        return self._node.create_lifecycle_publisher(
            message_class(type_name),
            f'~/{name}',
            qos.output(),
            event_callbacks=on_matched_subscription(lambda _: self.count_listeners()),
            qos_overriding_options=qos.overridable(),
        )

    def _is_heard(self, name: str) -> bool:
        return bool(self._listeners[name]) or self._packer.config.output.always_on

    def _send(self, name: str, fields: MessageFields | None) -> None:
        if fields is None:
            return
        message = make_by_attributes(fields, message_class)
        with self._lock:
            if name in self._publishers:
                self._publishers[name].publish(message)
        self._packer.release(fields)


def message_class(type_name: str) -> Any:
    """Return the class of a message type such as ``sensor_msgs/msg/Image``."""
    package, _, name = type_name.partition('/msg/')
    return getattr(import_module(f'{package}.msg'), name)
