# SPDX-License-Identifier: Apache-2.0
"""Publishers that know who listens, below a node's own name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from typing import Any

from rclpy.lifecycle import LifecycleNode
from rclpy.publisher import Publisher

from mast3r_ros.ros import qos
from mast3r_ros.ros.events import on_matched_subscription
from mast3r_ros.wire.message_fields import MessageFields, make_by_attributes


class Publishers:
    """Publishes to whoever listens; all at once are there or none.

    :param types: the type of each topic.
    :param on_change: called when somebody begins or ceases to listen, in the executor's thread.
    :param latched: topics whose latest message also goes to those who come later.
    """

    def __init__(
        self,
        node: LifecycleNode,
        types: Mapping[str, str],
        on_change: Callable[[], None],
        latched: Iterable[str] = (),
    ) -> None:
        self._node = node
        self._on_change = on_change
        self._latched = frozenset(latched)
        self._lock = threading.Lock()  # they may be destroyed while the engine publishes
        self._publishers: dict[str, Publisher] = {}
        self._listeners = dict.fromkeys(types, 0)
        try:
            for topic, type_name in types.items():
                self._publishers[topic] = self._publisher(type_name, topic)
        except Exception:
            self.close()
            raise

    @property
    def any_heard(self) -> bool:
        """Whether anybody listens to anything."""
        return any(self._listeners.values())

    def is_heard(self, name: str) -> bool:
        """Whether anybody listens to this topic."""
        return bool(self._listeners[name])

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

    def send(self, name: str, fields: MessageFields) -> None:
        """Publish a message; nothing happens once the publishers are closed."""
        message = make_by_attributes(fields, message_class)
        with self._lock:
            if name in self._publishers:
                self._publishers[name].publish(message)

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
            qos.latched() if name in self._latched else qos.output(),
            event_callbacks=on_matched_subscription(lambda _: self.count_listeners()),
            qos_overriding_options=qos.overridable(),
        )


def message_class(type_name: str) -> Any:
    """Return the class of a message type such as ``sensor_msgs/msg/Image``."""
    package, _, name = type_name.partition('/msg/')
    return getattr(import_module(f'{package}.msg'), name)
