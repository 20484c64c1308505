# SPDX-License-Identifier: Apache-2.0
"""The map of a sequence: what all keyframes see, always where the keyframes are believed to be."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.geometry import transform
from mast3r_ros.sequence.keyframe import ColoredPoints, Keyframe
from mast3r_ros.sequence.keyframes import Keyframes
from mast3r_ros.sequence.voxel_map import MapCloud, VoxelMap
from mast3r_ros.sequence_config import SequenceConfig

_AUTO_VOXEL = 0.005  # of the typical depth of the first keyframe
_SLICE = 1 << 14  # points laid at a time: some hundredths of a second in a large map

_SHARE_OF_THE_TIME = 0.1  # of the engine's thread, that laying may take
_LAYS_S = 0.02  # after a frame, in any case
_LAYS_MOST_S = 0.1  # after a frame; the engine's thread is to be seen alive

_Place = tuple[Matrix, float]  # a pose in the world, and the scale


class LayingTime:
    """How long a map may be laid on after each frame, so that the frames come first.

    :param now_s: as of a clock that never goes back.
    """

    def __init__(self, now_s: float) -> None:
        self._before_s = now_s

    def after_frame(self, now_s: float) -> float:
        """Return a share of the time since the frame before, within limits; ask at every frame."""
        since_s, self._before_s = now_s - self._before_s, now_s
        return min(_LAYS_MOST_S, max(_LAYS_S, _SHARE_OF_THE_TIME * since_s))


class SequenceMap:
    """The map; laid when it is asked for, keyframes that changed nothing are not laid again.

    When keyframes were moved it is laid anew, with them where they were at that moment; until that
    is done, the map from before is shown. So no map is half moved, and one that is moved again and
    again gets done all the same.
    """

    def __init__(self, keyframes: Keyframes, config: SequenceConfig) -> None:
        self._keyframes = keyframes
        self._config = config
        self._voxels: VoxelMap | None = None
        self._added = 0  # keyframes, from the first on
        self._changes_seen = 0
        self._slices: Iterator[ColoredPoints] | None = None  # what is left of a keyframe
        self._anew: list[_Place] | None = None  # where keyframes are laid anew
        self._before: MapCloud | None = None  # what is shown meanwhile

    @property
    def voxel(self) -> float:
        """Edge of a cube by now, 0 while there is no map."""
        return 0.0 if self._voxels is None else self._voxels.voxel

    @property
    def share_laid(self) -> float:
        """How much of the map is laid anew, 1 where it is whole."""
        return 1.0 if self._anew is None else self._added / len(self._anew)

    @property
    def nbytes(self) -> int:
        """Memory it holds between calls, in bytes."""
        total = 0 if self._voxels is None else self._voxels.nbytes
        return total if self._before is None else total + self._before.nbytes

    def lay(self, budget_s: float = math.inf, *, final: bool = False) -> bool:
        """Go on laying for so long, at least one slice; return whether the map is whole.

        :param final: count the last keyframe in, whose depth would still change.
        """
        end_s = time.monotonic() + budget_s
        while not self._is_whole(final):
            self._lay_slice(final)
            if time.monotonic() >= end_s:
                break
        return self._is_whole(final)

    def cloud(self, *, final: bool = False) -> MapCloud:
        """Lay what is left to lay, and return the map.

        :param final: count the last keyframe in, whose depth would still change.
        """
        self.lay(final=final)
        assert self._voxels is not None
        return self._voxels.cloud()

    def cloud_so_far(self) -> MapCloud:
        """Return what is laid, with what the last keyframe shows as yet; it lays nothing itself.

        While the map is laid anew, it is the one from before and nothing else.
        """
        if self._before is not None:
            return self._before
        if self._voxels is None:
            self._voxels = self._make()
        laid = self._voxels.cloud()
        moved = self._anew is not None or self._keyframes.changes != self._changes_seen
        if moved or not len(self._keyframes) or self._added == len(self._keyframes):
            return laid
        newest = self._make()
        keyframe = self._keyframes[-1]
        for part in self._sliced(keyframe, _place_of(keyframe)):
            newest.add(*part)
        parts = laid, newest.cloud()
        return MapCloud(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.colors for part in parts]),
            np.concatenate([part.weights for part in parts]),
        )

    def _is_whole(self, final: bool) -> bool:
        count = len(self._keyframes) - (0 if final else 1)
        is_busy = self._slices is not None or self._anew is not None
        is_newest = self._changes_seen == self._keyframes.changes and self._added >= count
        return self._voxels is not None and is_newest and not is_busy

    def _lay_slice(self, final: bool) -> None:
        if self._voxels is None:
            self._voxels = self._make()
        if self._slices is None:
            if self._anew is None and self._changes_seen != self._keyframes.changes:
                self._begin_anew(final)
            self._slices = self._next_keyframe(final)
        if self._slices is None:
            return
        part = next(self._slices, None)
        if part is not None:
            self._voxels.add(*part)
            return
        self._slices = None
        self._added += 1
        if self._anew is not None and self._added >= len(self._anew):
            self._anew, self._before = None, None

    def _begin_anew(self, final: bool) -> None:
        """Begin the map again, with the keyframes where they are now."""
        assert self._voxels is not None
        self._changes_seen, self._added = self._keyframes.changes, 0
        count = len(self._keyframes) - (0 if final else 1)
        if count <= 0:
            self._voxels.clear()
            return
        self._anew = [_place_of(item) for item in list(self._keyframes)[:count]]
        if len(self._voxels):
            self._before = self._voxels.cloud()
            self._voxels.clear()

    def _next_keyframe(self, final: bool) -> Iterator[ColoredPoints] | None:
        """Return the slices of the keyframe that comes next; None where all are laid."""
        count = len(self._keyframes) - (0 if final else 1)
        if self._added >= count and self._anew is None:
            return None
        keyframe = self._keyframes[self._added]
        place = _place_of(keyframe) if self._anew is None else self._anew[self._added]
        return self._sliced(keyframe, place)

    def _make(self) -> VoxelMap:
        voxel = self._config.map_voxel
        if voxel <= 0.0:
            depths = [item.typical_depth for item in self._keyframes if item.has_depth]
            voxel = _AUTO_VOXEL * (depths[0] if depths else 1.0)
        return VoxelMap(voxel, self._config.map_points_max)

    def _sliced(self, keyframe: Keyframe, place: _Place) -> Iterator[ColoredPoints]:
        """Yield a keyframe's points in the world, with colours and weights, some at a time."""
        points, colors, confidence = keyframe.cloud(self._config.map_confidence)
        T_world, scale = place
        T = T_world.copy()
        T[:3, :3] *= scale
        for start in range(0, len(points), _SLICE):
            part = slice(start, start + _SLICE)
            world = transform(T, points[part]).astype(np.float32)
            weights = np.maximum(confidence[part] - 1.0, 1e-3).astype(np.float32)
            yield world, colors[part], weights


def _place_of(keyframe: Keyframe) -> _Place:
    return keyframe.T_world_camera, keyframe.scale
