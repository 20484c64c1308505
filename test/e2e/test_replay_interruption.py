# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C leaves the pairs that were answered in a bag that can be read, or nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

pytest.importorskip('rosbags', reason='needs rosbags')

from support.bag_files import stereo_plan
from support.replay_program import DEADLINE_S, GEOMETRIC, command

from mast3r_ros.bags.bag import Bag


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_ctrl_c_leaves_whole_pairs_that_can_be_read(
    storage: str, number: signal.Signals, tmp_path: Path
) -> None:
    bag = stereo_plan(600).write(tmp_path / 'flight')
    out = tmp_path / 'out'
    words = (bag, *GEOMETRIC, '--output', out, '--storage', storage)
    process = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: out.is_dir() or process.poll() is not None)
    time.sleep(0.5)
    process.send_signal(number)
    printed, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert 'Traceback' not in said
    assert f'{out} can be read' in said.splitlines()[-1]
    with Bag(out, pytest.fail) as results:
        counts = {topic.count for topic in results.topics.values()}
    (pairs,) = counts
    assert 0 < pairs < 600
    assert f'{pairs} pairs answered' in printed
    assert f'stopped after {pairs} pairs' in said


def test_ctrl_c_before_the_first_answer_leaves_nothing(tmp_path: Path) -> None:
    bag = stereo_plan(1).write(tmp_path / 'flight')
    out = tmp_path / 'out'
    script = (
        'import sys, time\n'
        'from mast3r_ros.engines.geometric.engine import GeometricEngine\n'
        'def wait(*_):\n'
        '    print("waiting", flush=True)\n'
        '    time.sleep(60)\n'
        'GeometricEngine.encode = wait\n'
        'from mast3r_ros.cli.replay import main\n'
        'sys.exit(main(sys.argv[1:]))\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', script, str(bag), *GEOMETRIC, '--output', str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == 'waiting\n'
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert 'nothing was written' in said
    assert not out.exists()
