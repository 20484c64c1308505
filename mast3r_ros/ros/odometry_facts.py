# SPDX-License-Identifier: Apache-2.0
"""What a node knows of the odometry that its followed camera listens to; no ROS is needed."""

from __future__ import annotations

from dataclasses import dataclass

from mast3r_ros.choices import OdometryUse


@dataclass(frozen=True)
class OdometryFacts:
    """What is known of an odometry topic.

    :param silent_s: since the last usable message; None before the first.
    :param invalid: messages that could not be used; ``problem`` says why the last one.
    :param missed: frames that found none near enough in time.
    :param invalid_lately: the same since the report before, as ``missed_lately``.
    :param child_frame: whose poses these are, or are turned into those of; ``camera_frame``
        whose are needed.
    """

    topic: str
    use: OdometryUse
    publishers: int = 0
    received: int = 0
    silent_s: float | None = None
    invalid: int = 0
    invalid_lately: int = 0
    problem: str = ''
    missed: int = 0
    missed_lately: int = 0
    tolerance_s: float = 0.0
    incompatible: int = 0
    child_frame: str = ''
    camera_frame: str = ''
