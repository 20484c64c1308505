# SPDX-License-Identifier: Apache-2.0
"""The cores this process may use: by affinity and by the limits of control groups."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from mast3r_ros.bags.replay import with_fixed_threads
from mast3r_ros.cli import info
from mast3r_ros.config import NodeConfig
from mast3r_ros.core import cores
from mast3r_ros.core.cores import cgroup_quota, usable_cores
from mast3r_ros.core.parallel import thread_count


def groups(folder: Path, own: str, **files: str) -> tuple[Path, Path]:
    """Write control groups; a double underscore stands for a slash in a file's name."""
    root = folder / 'cgroup'
    root.mkdir()
    for name, text in files.items():
        path = root / name.replace('__', '/').replace('_max', '.max').replace('cpu_', 'cpu.')
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding='ascii')
    (folder / 'own').write_text(own, encoding='ascii')
    return root, folder / 'own'


def test_a_limit_of_version_2_is_read_from_the_process_s_own_group(tmp_path: Path) -> None:
    files = {'cpu_max': 'max 100000\n', 'robot__cpu_max': '150000 100000\n'}
    assert cgroup_quota(*groups(tmp_path, '0::/robot\n', **files)) == 1.5


def test_a_limit_of_a_group_around_it_counts_too(tmp_path: Path) -> None:
    files = {'robot__cpu_max': '200000 100000\n', 'robot__node__cpu_max': 'max 100000\n'}
    assert cgroup_quota(*groups(tmp_path, '0::/robot/node\n', **files)) == 2.0


def test_in_a_container_the_limit_stands_at_the_root(tmp_path: Path) -> None:
    assert cgroup_quota(*groups(tmp_path, '0::/\n', cpu_max='300000 100000\n')) == 3.0


def test_a_limit_of_version_1_is_read(tmp_path: Path) -> None:
    files = {'cpu__job__cpu_cfs_quota_us': '50000', 'cpu__job__cpu_cfs_period_us': '100000'}
    assert cgroup_quota(*groups(tmp_path, '4:cpu,cpuacct:/job\n', **files)) == 0.5


def test_minus_one_is_no_limit_in_version_1(tmp_path: Path) -> None:
    files = {'cpu__cpu_cfs_quota_us': '-1', 'cpu__cpu_cfs_period_us': '100000'}
    assert cgroup_quota(*groups(tmp_path, '4:cpu:/\n', **files)) == math.inf


@pytest.mark.parametrize('text', ['', 'nonsense', 'max', '1 0', '\n\n'])
def test_unreadable_limits_are_no_limits(tmp_path: Path, text: str) -> None:
    assert cgroup_quota(*groups(tmp_path, text, cpu_max=text)) == math.inf


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert cgroup_quota(tmp_path / 'none', tmp_path / 'none') == math.inf


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='needs Linux to pin a process')
def test_a_pinned_process_uses_the_cores_it_is_pinned_to() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(('quota', 'wanted'), [(0.5, 1), (math.inf, None)])
def test_there_is_always_a_core_and_never_more_than_there_are(
    monkeypatch: pytest.MonkeyPatch, quota: float, wanted: int | None
) -> None:
    monkeypatch.setattr(cores, '_quota', lambda: quota)
    assert usable_cores() == (wanted or len(os.sched_getaffinity(0)))


def test_a_container_s_limit_holds_wherever_work_is_shared_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cores, '_quota', lambda: 1.0)
    assert thread_count() == 1
    assert with_fixed_threads(NodeConfig()).runtime.num_threads == 1
    assert info.collect()['platform']['cores'] == 1
