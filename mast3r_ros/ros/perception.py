# SPDX-License-Identifier: Apache-2.0
"""The perception node as a program: ``ros2 run mast3r_ros perception``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from mast3r_ros.ros.executable import run_nodes
from mast3r_ros.ros.perception_node import Mast3rNode


def main(argv: Sequence[str] | None = None) -> int:
    """Run one node until it is stopped."""
    return run_nodes(lambda: [Mast3rNode()], argv)


if __name__ == '__main__':
    sys.exit(main())
