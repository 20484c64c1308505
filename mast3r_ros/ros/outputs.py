# SPDX-License-Identifier: Apache-2.0
"""The results of pairs: who listens decides what is computed, packed and published."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode

from mast3r_ros.config import NodeConfig
from mast3r_ros.core.products import PairResult, Product
from mast3r_ros.ros.publishers import Publishers
from mast3r_ros.wire.cloud_rate import CloudRate
from mast3r_ros.wire.message_fields import MessageFields
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
        self.publishers = Publishers(node, _TYPES, on_change)
        self._node = node
        self._packer = ResultPacker(config)
        self._clouds = CloudRate()

    @property
    def needed(self) -> bool:
        """Whether pairs are to be answered: somebody listens, or that is asked for anyway."""
        return self.publishers.any_heard or self._packer.config.output.always_on

    def configure(self, config: NodeConfig) -> None:
        """Take over changed settings for the next result."""
        self._packer.config = config

    def wanted(self) -> Product:
        """Return what must be computed for those who listen."""
        if self._packer.config.output.always_on:
            return Product.ALL
        wanted = Product.NOTHING
        for topic in RESULT_TOPICS:
            if self.publishers.is_heard(topic.name):
                wanted |= topic.needs
        if wanted is Product.NOTHING and self.publishers.is_heard(STATS_TOPIC):
            return Product.CLOUD_1  # statistics of nothing would tell nothing
        return wanted

    def publish(self, result: PairResult, drops: dict[str, int]) -> float:
        """Publish a result and return its age in milliseconds; in the engine's thread."""
        start = time.perf_counter()
        limit_hz = self._packer.config.output.cloud_rate_max_hz
        clouds_due = self._clouds.is_due(result.stamp_ns, limit_hz)
        for topic in RESULT_TOPICS:
            if self._is_wanted(topic.name) and (clouds_due or not topic.is_cloud):
                self._send(topic.name, topic.pack(self._packer, result))
        age_ms = (self._node.get_clock().now().nanoseconds - result.stamp_ns) / 1e6
        if self._is_wanted(STATS_TOPIC):
            publish_ms = (time.perf_counter() - start) * 1e3
            info = result.engine
            how = Publication(info.name, info.device, publish_ms, age_ms, drops)
            self._send(STATS_TOPIC, stats_fields(result, result.pair.view_1.frame_id, how))
        return age_ms

    def _is_wanted(self, name: str) -> bool:
        return self.publishers.is_heard(name) or self._packer.config.output.always_on

    def _send(self, name: str, fields: MessageFields | None) -> None:
        if fields is not None:
            self.publishers.send(name, fields)
            self._packer.release(fields)
