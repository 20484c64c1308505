# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that are opened and closed together, and know whom they cannot hear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription

from mast3r_ros.ros import qos
from mast3r_ros.ros.events import on_incompatible_publisher


class Subscriptions:
    """The subscriptions of one camera.

    ``incompatible`` counts, by topic, the publishers that offer what cannot be heard; a message
    that does come takes its topic off the list.
    """

    def __init__(self, node: Node) -> None:
        self.incompatible: Counter[str] = Counter()
        self._node = node
        self._open: list[Subscription] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(
        self, kind: Any, topic: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> None:
        """Subscribe to a topic; users may override its quality of service by parameters."""

        def heard(message: Any) -> None:
            if self._open:  # a message taken just before may still be on its way
                self.incompatible.pop(topic, None)
                callback(message)

        def not_heard(event: Any) -> None:
            self.incompatible[topic] = event.total_count

        subscription = self._node.create_subscription(
            kind,
            topic,
            heard,
            profile,
            event_callbacks=on_incompatible_publisher(not_heard),
            qos_overriding_options=qos.overridable_input(self._node, topic),
        )
        self._open.append(subscription)

    def add_latched(self, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        """Hear what publishers of a topic sent once and keep for those who come later."""
        subscription = self._node.create_subscription(kind, topic, callback, qos.latched_input())
        self._open.append(subscription)

    def is_latched(self, topic: str) -> bool:
        """Whether a publisher of the topic keeps what it sent.

        Asking every publisher for that would have each that does not warn of it.
        """
        return any(
            publisher.qos_profile.durability is DurabilityPolicy.TRANSIENT_LOCAL
            for publisher in self._node.get_publishers_info_by_topic(topic)
        )

    def close(self) -> None:
        """Unsubscribe from everything."""
        for subscription in self._open:
            self._node.destroy_subscription(subscription)
        self._open = []
        self.incompatible.clear()
