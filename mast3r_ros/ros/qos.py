# SPDX-License-Identifier: Apache-2.0
"""Quality of service of every topic; each call returns a profile of its own.

rclpy writes overrides into the very profile it is handed, so a shared one would change for all.
"""

from __future__ import annotations

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    HistoryPolicy,
    QoSPolicyKind,
    QoSProfile,
    ReliabilityPolicy,
)
from rclpy.qos_overriding_options import QoSOverridingOptions


def newest_input(*, reliable: bool) -> QoSProfile:
    """Sensor data of which only the newest counts.

    :param reliable: ask for lost pieces again. An image travels in many, and a busy machine
        loses some: without it, up to half of a pair's second images never arrive.
    """
    kind = ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
    return QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=2, reliability=kind)


def is_offered_reliably(node: Node, topic: str) -> bool:
    """Whether every known publisher of a topic offers reliable delivery, and there is one."""
    offers = [info.qos_profile.reliability for info in node.get_publishers_info_by_topic(topic)]
    return bool(offers) and all(offer is ReliabilityPolicy.RELIABLE for offer in offers)


def every_input() -> QoSProfile:
    """Sensor data of which none may be lost."""
    return QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)


def calibration_input() -> QoSProfile:
    """Calibration, which comes beside the images."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=5, reliability=ReliabilityPolicy.BEST_EFFORT
    )


def odometry_input() -> QoSProfile:
    """Odometry: often, small, and some of it at once while something else was done."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=200, reliability=ReliabilityPolicy.BEST_EFFORT
    )


def latched() -> QoSProfile:
    """What its publisher keeps for those who come later, as calibration or a map."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=1,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )


def output() -> QoSProfile:
    """Results; reliable, because rviz2 asks for that."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST,
        depth=2,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )


def transforms() -> QoSProfile:
    """Transforms, as every listener of /tf expects them."""
    return QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=100, reliability=ReliabilityPolicy.RELIABLE
    )


def overridable() -> QoSOverridingOptions:
    """Let users override reliability, history and depth by parameters."""
    return QoSOverridingOptions.with_default_policies()


def overridable_input(node: Node, topic: str) -> QoSOverridingOptions:
    """Let users override the same of an input whose reliability else follows its publishers.

    rclpy turns the first value of each policy into a read-only parameter, which then holds for
    every later subscription too; so reliability becomes one only where a user gave it.
    """
    kinds = [QoSPolicyKind.HISTORY, QoSPolicyKind.DEPTH]
    if f'qos_overrides.{topic}.subscription.reliability' in node._parameter_overrides:
        kinds.append(QoSPolicyKind.RELIABILITY)
    return QoSOverridingOptions(kinds)
