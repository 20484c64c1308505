# SPDX-License-Identifier: Apache-2.0
"""What the view hears: subscribed to only while a browser is open, unpacked only when drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from mast3r_ros.ros import qos

STATS_DEPTH = 20
"""Statistics are small and each one counts."""


@dataclass(frozen=True)
class ViewInput:
    """One topic.

    :param callback: is handed the message's bytes.
    :param depth: how many may wait; of the large ones only the newest counts.
    """

    kind: Any
    topic: str
    callback: Callable[[bytes], None]
    depth: int = 1


class ViewInputs:
    """Subscriptions that come and go together, each as reliable as its publishers offer."""

    def __init__(self, node: Node, inputs: list[ViewInput]) -> None:
        self._node = node
        self._inputs = inputs
        self._open: dict[ViewInput, tuple[bool, Subscription]] = {}

    def look(self, *, wanted: bool) -> None:
        """Open, close or renew the subscriptions; to be called every now and then."""
        for item in self._inputs:
            reliable = wanted and qos.is_offered_reliably(self._node, self._full_name(item))
            is_open = self._open.get(item)
            if is_open is not None and (not wanted or is_open[0] != reliable):
                self._node.destroy_subscription(is_open[1])
                del self._open[item]
            if wanted and item not in self._open:
                self._open[item] = (reliable, self._subscribe(item, reliable))

    def _full_name(self, item: ViewInput) -> str:
        return str(self._node.resolve_topic_name(item.topic))

    def _subscribe(self, item: ViewInput, reliable: bool) -> Subscription:
        kind = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
        profile = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=item.depth, reliability=kind)
        # Bytes are cheap to take; most of them are given up for newer ones and never unpacked.
        return self._node.create_subscription(
            item.kind, item.topic, item.callback, profile, raw=True
        )
