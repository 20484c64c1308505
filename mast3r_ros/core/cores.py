# SPDX-License-Identifier: Apache-2.0
"""How many processor cores this process may use."""

from __future__ import annotations

import math
import os
from functools import cache
from pathlib import Path

_CGROUPS = Path('/sys/fs/cgroup')
_OWN_CGROUP = Path('/proc/self/cgroup')


def usable_cores() -> int:
    """Return the cores that affinity and the container's limit leave to this process."""
    may_use = getattr(os, 'sched_getaffinity', None)
    cores = len(may_use(0)) if may_use else os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


@cache
def _quota() -> float:
    return cgroup_quota(_CGROUPS, _OWN_CGROUP)


def cgroup_quota(root: Path, own: Path) -> float:
    """Return the cores that control groups allow, infinity where they set no limit.

    :param root: where the groups are mounted.
    :param own: the file that says which groups this process is in.
    """
    quotas = [_quota_v2(folder) for folder in _groups(root, own, '')]
    quotas += [_quota_v1(folder) for folder in _groups(root / 'cpu', own, 'cpu')]
    return min(quotas, default=math.inf)


def _groups(root: Path, own: Path, controller: str) -> list[Path]:
    """Return the folders of this process's group and of those around it."""
    folders = [root]
    for line in _text(own).splitlines():
        _, _, rest = line.partition(':')
        controllers, _, path = rest.partition(':')
        if controller in controllers.split(','):
            inside = Path(path.strip('/'))
            folders += [root / inside, *(root / part for part in inside.parents)]
    return folders


def _quota_v2(folder: Path) -> float:
    quota, _, period = _text(folder / 'cpu.max').strip().partition(' ')
    return _share(quota, period)


def _quota_v1(folder: Path) -> float:
    return _share(_text(folder / 'cpu.cfs_quota_us'), _text(folder / 'cpu.cfs_period_us'))


def _share(quota: str, period: str) -> float:
    try:
        allowed, whole = float(quota), float(period)
    except ValueError:  # 'max', or no such file
        return math.inf
    return allowed / whole if allowed > 0.0 and whole > 0.0 else math.inf


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding='ascii')
    except (OSError, ValueError):
        return ''
