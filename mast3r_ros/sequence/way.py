# SPDX-License-Identifier: Apache-2.0
"""The way of a camera so far, in bounded memory: the longer it is, the fewer poses are kept."""

from __future__ import annotations

from dataclasses import replace

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.sequence.frames import TrackedFrame

POSES_KEPT = 2000
"""Most poses of a way; a drawing of it needs no more."""


class Way:
    """Poses in the order of time, each where it is believed to be now.

    :param most: poses that are kept at once.
    """

    def __init__(self, most: int = POSES_KEPT) -> None:
        self._most = most
        self._kept: list[TrackedFrame] = []
        self._newest: TrackedFrame | None = None
        self._every = 1
        self._seen = 0

    def add(self, frame: TrackedFrame) -> None:
        """Take in a frame whose pose is known; its points are not kept."""
        self._newest = replace(frame, cloud=None, dynamic=None)
        if self._seen % self._every == 0:
            self._kept.append(self._newest)
        self._seen += 1
        if len(self._kept) > self._most:
            self._kept = self._kept[::2]
            self._every *= 2

    def poses(self) -> list[tuple[int, Matrix]]:
        """Return stamps in nanoseconds and poses ``T_world_camera``, the newest always."""
        frames = list(self._kept)
        if self._newest is not None and (not frames or frames[-1] is not self._newest):
            frames.append(self._newest)
        poses = [(frame.stamp_ns, frame.T_world_camera) for frame in frames]
        return [(stamp_ns, pose) for stamp_ns, pose in poses if pose is not None]
