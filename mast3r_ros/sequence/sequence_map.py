# SPDX-License-Identifier: Apache-2.0
"""The map of a sequence: what all keyframes see, always where the keyframes are believed to be."""

from __future__ import annotations

import numpy as np

from mast3r_ros.core.geometry import transform
from mast3r_ros.sequence.keyframe import Keyframe
from mast3r_ros.sequence.keyframes import Keyframes
from mast3r_ros.sequence.voxel_map import MapCloud, VoxelMap
from mast3r_ros.sequence_config import SequenceConfig

_AUTO_VOXEL = 0.005  # of the typical depth of the first keyframe


class SequenceMap:
    """The map; built when it is asked for, keyframes that changed nothing are not added again."""

    def __init__(self, keyframes: Keyframes, config: SequenceConfig) -> None:
        self._keyframes = keyframes
        self._config = config
        self._voxels: VoxelMap | None = None
        self._added = 0  # keyframes, from the first on
        self._changes_seen = 0

    @property
    def voxel(self) -> float:
        """Edge of a cube by now, 0 while there is no map."""
        return 0.0 if self._voxels is None else self._voxels.voxel

    def cloud(self, *, final: bool = False) -> MapCloud:
        """Return the map.

        :param final: count the last keyframe in, whose depth would still change.
        """
        count = len(self._keyframes) - (0 if final else 1)
        if self._voxels is None:
            self._voxels = self._make()
        if self._keyframes.changes != self._changes_seen:
            self._changes_seen, self._added = self._keyframes.changes, 0
            self._voxels.clear()
        for number in range(self._added, count):
            self._add(self._voxels, self._keyframes[number])
        self._added = max(self._added, count)
        return self._voxels.cloud()

    def cloud_so_far(self) -> MapCloud:
        """Return the map with what the last keyframe shows as yet."""
        settled = self.cloud()
        if not len(self._keyframes) or self._added == len(self._keyframes):
            return settled
        newest = self._make()
        self._add(newest, self._keyframes[-1])
        parts = settled, newest.cloud()
        return MapCloud(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.colors for part in parts]),
            np.concatenate([part.weights for part in parts]),
        )

    def _make(self) -> VoxelMap:
        voxel = self._config.map_voxel
        if voxel <= 0.0:
            depths = [item.typical_depth for item in self._keyframes if item.has_depth]
            voxel = _AUTO_VOXEL * (depths[0] if depths else 1.0)
        return VoxelMap(voxel, self._config.map_points_max)

    def _add(self, voxels: VoxelMap, keyframe: Keyframe) -> None:
        points, colors, confidence = keyframe.cloud(self._config.map_confidence)
        T = keyframe.T_world_camera.copy()
        T[:3, :3] *= keyframe.scale
        world = transform(T, points).astype(np.float32)
        voxels.add(world, colors, np.maximum(confidence - 1.0, 1e-3).astype(np.float32))
