# SPDX-License-Identifier: Apache-2.0
"""``--help`` for programs that take nothing but ROS arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rclpy.utilities import remove_ros_args


def check_words(argv: Sequence[str] | None, program: str, about: str, notes: str) -> None:
    """End the process with the usage where that is asked for or a word means nothing.

    :param argv: the words of the command line with the program's name; None: this process's.
    :param about: what the program does, a sentence.
    :param notes: examples and exit codes, line by line.
    """
    words = remove_ros_args(list(argv) if argv is not None else sys.argv)[1:]
    parser = argparse.ArgumentParser(
        prog=program,
        usage=f'{program} [-h] [--ros-args ...]',
        description=about,
        epilog=notes,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.parse_args(words)
