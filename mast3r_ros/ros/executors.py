# SPDX-License-Identifier: Apache-2.0
"""What waits for messages and timers and calls the nodes back."""

from __future__ import annotations

from typing import Any

from rclpy.executors import SingleThreadedExecutor

from mast3r_ros.config import ExecutorRule
from mast3r_ros.errors import ConfigError


def make_executor(rule: ExecutorRule) -> Any:
    """Return the executor that the settings ask for; each calls back in one thread.

    rclpy's MultiThreadedExecutor is not among them: it is slower, and nothing here needs it, since
    no callback does anything heavy.

    :raises ConfigError: this rclpy has no such executor.
    """
    if rule is ExecutorRule.SINGLE:
        return SingleThreadedExecutor()
    try:
        from rclpy.experimental.events_executor import EventsExecutor
    except ImportError as error:
        sentence = (
            f'executor is {rule.value}, which this rclpy does not have ({error}); Jazzy has it '
            'since April 2025: update, or set executor to single'
        )
        raise ConfigError([('executor', sentence)]) from error
    return EventsExecutor()
