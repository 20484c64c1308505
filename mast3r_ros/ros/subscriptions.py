# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that are opened and closed together, and know whom they cannot hear."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.subscription import Subscription

from mast3r_ros.ros import qos
from mast3r_ros.ros.events import on_incompatible_publisher


@dataclass
class _Followed:
    """A topic that is asked for as reliably as it is published."""

    kind: Any
    topic: str
    callback: Callable[[Any], None]
    subscription: Subscription | None = None
    is_reliable: bool = False
    is_guess: bool = True  # nobody published yet when it was subscribed to
    is_silent: bool = True  # since the last look

    def hear(self, message: Any) -> None:
        self.is_silent = False
        self.callback(message)


class Subscriptions:
    """The subscriptions of one camera.

    ``incompatible`` counts, by topic, the publishers that offer what cannot be heard; a message
    that does come takes its topic off the list.
    """

    def __init__(self, node: Node) -> None:
        self.incompatible: Counter[str] = Counter()
        self._node = node
        self._open: list[Subscription] = []
        self._followed: list[_Followed] = []

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(
        self, kind: Any, topic: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> None:
        """Subscribe to a topic; users may override its quality of service by parameters."""
        self._subscribe(kind, topic, callback, profile)

    def follow(self, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        """Subscribe to the newest of a topic, reliably if all its publishers offer that."""
        item = _Followed(kind, topic, callback)
        self._subscribe_as_offered(item)
        self._followed.append(item)

    def look(self) -> None:
        """Subscribe anew where publishers offer something else by now; call now and then.

        A topic that flows is left alone, for that would lose what is on its way; but for a first
        guess, which may have come out worse than what is offered.
        """
        for item in self._followed:
            is_silent, item.is_silent = item.is_silent, True
            if not (is_silent or item.is_guess) or not self._node.count_publishers(item.topic):
                continue
            item.is_guess = False
            if item.is_reliable != qos.is_offered_reliably(self._node, item.topic):
                self._subscribe_as_offered(item)

    def add_latched(self, kind: Any, topic: str, callback: Callable[[Any], None]) -> None:
        """Hear what publishers of a topic sent once and keep for those who come later."""
        subscription = self._node.create_subscription(kind, topic, callback, qos.latched())
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
        self._followed = []
        self.incompatible.clear()

    def _subscribe_as_offered(self, item: _Followed) -> None:
        is_guess = not self._node.count_publishers(item.topic)
        is_reliable = qos.is_offered_reliably(self._node, item.topic)
        profile = qos.newest_input(reliable=is_reliable)
        before = item.subscription
        item.subscription = self._subscribe(item.kind, item.topic, item.hear, profile)
        item.is_guess, item.is_reliable = is_guess, is_reliable
        if before is not None:
            self._open.remove(before)
            self._node.destroy_subscription(before)
            self.incompatible.pop(item.topic, None)

    def _subscribe(
        self, kind: Any, topic: str, callback: Callable[[Any], None], profile: QoSProfile
    ) -> Subscription:
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
        return subscription
