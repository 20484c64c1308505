# SPDX-License-Identifier: Apache-2.0
"""Runs nodes in a process of their own: signals, exit codes, a clean end."""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from mast3r_ros.config import ExecutorRule
from mast3r_ros.core.worker import ENGINE_THREAD
from mast3r_ros.errors import InvalidInput, Mast3rError
from mast3r_ros.ros.dds_profile import give_pictures_room
from mast3r_ros.ros.executors import make_executor
from mast3r_ros.ros.log_forwarding import logs_forwarded

EXIT_FAILED = 1
EXIT_WRONG_USE = 2
EXIT_INTERRUPTED = 130

_LOOK_PERIOD_S = 0.2  # how long a signal may wait to be seen


def run_nodes(
    make_nodes: Callable[[], Sequence[Node]],
    argv: Sequence[str] | None = None,
    *,
    failure_of: Callable[[Node], str | None] = lambda node: getattr(node, 'fatal', None),
) -> int:
    """Make nodes, spin them until a signal or a fatal failure, and return the exit code.

    Where a thread hangs that nothing can end, the process ends here. The first node's
    ``executor_rule``, if it has one, says what spins them.

    :param failure_of: says why a node can do nothing any more, or None while it can.
    """
    code = _run(make_nodes, argv, failure_of)
    if any(thread.name == ENGINE_THREAD for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # Python's own end would wait for it, or crash in it
    # Python's own end would search every object of every library for garbage, which takes longer
    # than all the rest of ending.
    gc.freeze()
    gc.disable()
    return code


def _run(
    make_nodes: Callable[[], Sequence[Node]],
    argv: Sequence[str] | None,
    failure_of: Callable[[Node], str | None],
) -> int:
    nodes: Sequence[Node] = ()
    try:
        _start_ros(argv)
        nodes = make_nodes()
        with logs_forwarded(nodes[0].get_logger()):
            return _spin(nodes, _stop_on_signals(), failure_of)
    except KeyboardInterrupt:  # while nodes were still being made
        return EXIT_INTERRUPTED
    except ExternalShutdownException:
        return 0
    except Mast3rError as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_WRONG_USE
    finally:
        with ExitStack() as rest:  # all end, whatever one of them raises
            rest.callback(rclpy.try_shutdown)
            for node in reversed(nodes):
                rest.callback(node.destroy_node)


def _start_ros(argv: Sequence[str] | None) -> None:
    give_pictures_room()
    try:
        # rclpy's own handlers would end the context under the engine's feet, in mid-publication.
        rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:  # of several kinds: files, rules and values that cannot be read
        sentence = str(error).partition(', at /')[0]  # the rest names places in rclpy's sources
        raise InvalidInput(f'the ROS arguments cannot be used: {sentence}') from error


def _spin(nodes: Sequence[Node], stop: list[int], failure_of: Callable[[Node], str | None]) -> int:
    executor = make_executor(getattr(nodes[0], 'executor_rule', ExecutorRule.SINGLE))
    for node in nodes:
        executor.add_node(node)
    try:
        while not stop and rclpy.ok():
            _spin_once(executor, nodes[0])
            failures = [failure for node in nodes if (failure := failure_of(node)) is not None]
            if failures:
                print(f'error: {failures[0]}', file=sys.stderr)
                return EXIT_FAILED
        return 0
    finally:
        executor.shutdown()


def _spin_once(executor: Any, node: Node) -> None:
    """Wait for work and do it; a callback that raises ends nothing but itself."""
    try:
        executor.spin_once(timeout_sec=_LOOK_PERIOD_S)
    except (Mast3rError, ExternalShutdownException):
        raise
    except Exception:
        node.get_logger().error(f'a callback failed:\n{traceback.format_exc()}')


def _stop_on_signals() -> list[int]:
    """Return a list that is empty until the process is asked to stop."""
    seen: list[int] = []

    def remember(number: int, _frame: Any) -> None:
        seen.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, remember)
    return seen
