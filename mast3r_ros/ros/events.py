# SPDX-License-Identifier: Apache-2.0
"""Events of the middleware, where this rclpy reports them: who matched, who cannot be heard."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks


def on_incompatible_publisher(callback: Callable[[Any], None]) -> SubscriptionEventCallbacks:
    """Return the events of a subscription that hears of publishers it cannot hear."""
    return SubscriptionEventCallbacks(incompatible_qos=callback)


def on_matched_subscription(callback: Callable[[Any], None]) -> PublisherEventCallbacks | None:
    """Return the events of a publisher that hears of its listeners; None on Humble."""
    try:
        return PublisherEventCallbacks(matched=callback)
    except TypeError:
        return None
