# SPDX-License-Identifier: Apache-2.0
"""mast3r-replay, run here or in a process of its own, and the bags that it writes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mast3r_ros.bags.bag import Bag
from mast3r_ros.cli import replay

GEOMETRIC = ('--backend', 'geometric', '--threads', '1')
CONFIGS = Path(__file__).resolve().parents[2] / 'config'
DEADLINE_S = 120.0


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run the command; return its exit code, what it printed and what it complained of."""
    code = replay.main([str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def command(*words: object) -> list[str]:
    return [sys.executable, '-m', 'mast3r_ros.cli.replay', *(str(word) for word in words)]


def read(path: Path) -> list[tuple[str, int, bytes]]:
    """Return the messages of a bag: (topic, time, bytes)."""
    with Bag(path, pytest.fail) as bag:
        return [(item.topic, item.time_ns, item.data) for item in bag.messages(bag.topics)]
