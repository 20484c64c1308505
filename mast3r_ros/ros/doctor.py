# SPDX-License-Identifier: Apache-2.0
"""``ros2 run mast3r_ros doctor``: what a running node says is wrong, as text."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from rclpy.utilities import remove_ros_args

from mast3r_ros.ros import qos

EXIT_WRONG = 1
EXIT_NO_NODE = 3

_PARTS = ('engine', 'inputs', 'pairs', 'sequence')
_LISTEN_ON_S = 1.5  # every node reports once a second
_SIGNS = {0: 'ok  ', 1: 'warn', 2: 'FAIL', 3: 'old '}
_EXAMPLES = """examples:
  ros2 run mast3r_ros doctor
  ros2 run mast3r_ros doctor --node /left_arm/mast3r --wait 10

exit codes: 0 all is well, 1 something is wrong, 3 no node was heard"""


class Listener(Node):
    """Keeps the latest report of every part of every node it hears.

    :param only: the full name of the one node to listen to, or nothing for all of ours.
    """

    def __init__(self, only: str | None) -> None:
        super().__init__('mast3r_doctor')
        self.parts: dict[str, DiagnosticStatus] = {}
        self._only = only
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_report, qos.output())

    def listen(self, wait_s: float) -> None:
        """Wait for a first report, and then a little longer for those of other nodes."""
        end = time.monotonic() + wait_s
        while time.monotonic() < end and not self.parts:
            rclpy.spin_once(self, timeout_sec=0.2)
        end = time.monotonic() + (_LISTEN_ON_S if self.parts else 0.0)
        while time.monotonic() < end:
            rclpy.spin_once(self, timeout_sec=0.2)

    def _on_report(self, message: DiagnosticArray) -> None:
        for status in message.status:
            node, _, part = status.name.partition(': ')
            ours = part in _PARTS and node == status.hardware_id
            if ours and self._only in (None, node):
                self.parts[status.name] = status


def report(parts: Sequence[DiagnosticStatus]) -> tuple[str, int]:
    """Return the text for people and the exit code."""
    lines = []
    for status in sorted(parts, key=lambda item: item.name):
        level = status.level[0]
        lines.append(f'[{_SIGNS.get(level, "????")}] {status.name}: {status.message}')
        lines += [f'         {item.key}: {item.value}' for item in status.values]
    worst = max(status.level[0] for status in parts)
    return '\n'.join(lines), EXIT_WRONG if worst else 0


def main(argv: Sequence[str] | None = None) -> int:
    """Listen for a while and print what was heard."""
    words = remove_ros_args(list(argv) if argv is not None else sys.argv)[1:]
    parser = argparse.ArgumentParser(
        prog='doctor',
        description='Print what a running mast3r_ros node says of itself, and what to do.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--node', metavar='NAME', help='one node, with its namespace; else all')
    parser.add_argument(
        '--wait', type=float, default=5.0, metavar='S', help='longest wait for a report, in s (5)'
    )
    arguments = parser.parse_args(words)
    only = f'/{arguments.node.strip("/")}' if arguments.node else None
    rclpy.init(args=argv)
    listener = Listener(only)
    try:
        listener.listen(arguments.wait)
    except KeyboardInterrupt:
        return 130
    finally:
        listener.destroy_node()
        rclpy.try_shutdown()
    if not listener.parts:
        name = only or 'mast3r_ros'
        print(
            f'no {name} node was heard on /diagnostics in {arguments.wait:g} s; is it running, '
            'in the same ROS_DOMAIN_ID?'
        )
        return EXIT_NO_NODE
    text, code = report(list(listener.parts.values()))
    print(text)
    return code


if __name__ == '__main__':
    sys.exit(main())
