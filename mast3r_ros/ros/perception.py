# SPDX-License-Identifier: Apache-2.0
"""The perception node as a program: ``ros2 run mast3r_ros perception``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mast3r_ros.ros.executable import run_nodes
from mast3r_ros.ros.perception_node import Mast3rNode
from mast3r_ros.ros.usage import check_words

_NOTES = """Every setting is a parameter (docs/settings.md), and --params-file takes a YAML file.

examples:
  ros2 run mast3r_ros perception
  ros2 run mast3r_ros perception --ros-args -p runtime.backend:=geometric \\
      -r left/image:=/camera/left/image_rect

exit codes: 0 stopped by a signal, 1 the engine is dead, 2 wrong use"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one node until it is stopped."""
    check_words(argv, 'perception', 'Run the perception node.', _NOTES)
    return run_nodes(lambda: [Mast3rNode()], argv)


if __name__ == '__main__':
    sys.exit(main())
