# SPDX-License-Identifier: Apache-2.0
"""Pixels that move by themselves: the flow that is left over after the camera's own motion.

The limit is absolute (a floor in pixels) and grows with the parallax, because a wrong depth leaves
flow over too; so nothing moves in a static scene.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.products import Cloud
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import ImageArray, MaskArray

_WIDTH_PX = 320  # of the pictures whose flow is measured
_REACH = 3  # frames back: slow things must get somewhere
_OF_PARALLAX = 0.1  # share of the parallax that a wrong depth may leave over
_WINDOW_PX = 5
_NOISE_LEVELS = 3.0  # grey levels that two pictures of one thing differ by
_LESS_SURE = 0.5  # of the limit, for what belongs to a thing of which a part surely moves
_SAME_DEPTH = 1.06  # how much nearer or farther the rest of it may be
_LARGE_PX = 4.0  # of motion, from which the picture of then itself is asked
_MOST = 0.4  # of the picture; more than that never moves
_LEAST_SURE = 0.25  # share of such a thing that surely moves
_HIDDEN = 1.15  # how much farther than what was seen a thing must be, to have been behind it
_BETTER = 0.7  # of the difference, once the flow is taken into account
_SMALLEST = 1e-3  # of the picture: smaller patches are noise
_MIN_DEPTH_SHARE = 0.05  # of the picture with depth, or nothing is said

Gray = NDArray[np.uint8]
Values = NDArray[Any]


@dataclass(frozen=True, eq=False)
class _Seen:
    gray: Gray
    depth: FloatArray
    T_world_camera: Matrix


class DynamicPixels:
    """Marks what moves by itself, frame after frame.

    :param floor_px: flow left over, in pixels of a picture 320 wide, that still counts as none.
    """

    def __init__(self, floor_px: float) -> None:
        self._floor_px = floor_px
        self._seen: deque[_Seen] = deque(maxlen=_REACH)
        self._small_camera: tuple[Camera, Camera] | None = None
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def find(
        self, image: ImageArray, camera: Camera, cloud: Cloud | None, T_world_camera: Matrix
    ) -> MaskArray | None:
        """Return (H, W), True where something moves, on the cloud's grid; None without a cloud.

        :param camera: calibration of the picture.
        :param cloud: its points, in the unit of the poses.
        """
        small = _shrunk(image)
        if cloud is None:
            return None
        depth = _depth_on(cloud, camera, small.shape[1], small.shape[0])
        moves = np.zeros(small.shape, np.bool_)
        if self._seen and self._seen[0].gray.shape == small.shape:
            moves = self._moves(small, depth, camera, T_world_camera)
        self._seen.append(_Seen(small, depth, T_world_camera.copy()))
        return _on_grid(moves, cloud, image.shape)

    def forget(self) -> None:
        """Forget earlier frames."""
        self._seen.clear()

    def _moves(self, gray: Gray, depth: FloatArray, camera: Camera, T_world: Matrix) -> MaskArray:
        then = self._seen[0]
        height, width = gray.shape
        small = self._small(camera, width, height)
        known = np.isfinite(depth)
        if known.mean() < _MIN_DEPTH_SHARE:
            return np.zeros_like(known)
        T_then_now = np.linalg.inv(then.T_world_camera) @ T_world
        own, turned, depth_then = _ego_motion(depth, small, T_then_now)
        known &= _inside(own)
        limit = np.maximum(self._floor_px, _OF_PARALLAX * _length(own - turned))
        # Small motion shows best in the picture of then as a static scene would show it now,
        # large motion in the picture of then itself.
        as_static = cv2.remap(then.gray, own, None, cv2.INTER_LINEAR)
        as_static = np.where(known, as_static, gray)
        hidden = _hidden(own, depth_then, then.depth)
        pixels = _pixels(width, height)
        sure, likely = np.zeros_like(known), np.zeros_like(known)
        for other, still, least_px in ((as_static, pixels, 0.0), (then.gray, own, _LARGE_PX)):
            ends = self._flow.calc(gray, other, None) + pixels
            over = _length(ends - still) / np.maximum(limit, least_px)
            moves = known & (over > 1.0)
            if moves.any():
                sure |= moves & ~hidden & _explains(ends, other, gray, as_static)
                likely |= known & (over > _LESS_SURE)
        if np.count_nonzero(sure) > _MOST * np.count_nonzero(known):
            return np.zeros_like(known)  # rather the depth or the pose is wrong
        return _whole_things(_without_specks(sure), depth, likely)

    def _small(self, camera: Camera, width: int, height: int) -> Camera:
        """Return the calibration of the small picture, made once."""
        known = self._small_camera
        if known is None or known[0] is not camera:
            ratio = width / camera.width, height / camera.height
            known = camera, camera.undistorted().on_grid(ratio, (0.0, 0.0), width, height)
            self._small_camera = known
        return known[1]


def _length(flow: FloatArray) -> FloatArray:
    return np.asarray(cv2.magnitude(flow[..., 0], flow[..., 1]))


def _ego_motion(
    depth: FloatArray, camera: Camera, T_then_now: Matrix
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return where (H, W, 2) each pixel of a static scene was, where by the turn alone, and Z."""
    K = camera.K
    turned = camera.rays @ (K @ T_then_now[:3, :3]).T.astype(np.float32)
    moved = turned * depth[..., None] + (K @ T_then_now[:3, 3]).astype(np.float32)
    with np.errstate(invalid='ignore', divide='ignore'):
        own, turned = moved[..., :2] / moved[..., 2:], turned[..., :2] / turned[..., 2:]
    return own, turned, moved[..., 2]


def _hidden(places: FloatArray, depth: FloatArray, seen: FloatArray) -> MaskArray:
    """Return what was behind something nearer then, or behind nobody knows what."""
    there = cv2.remap(seen, places, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
    with np.errstate(invalid='ignore'):
        return np.asarray(~(there * _HIDDEN > depth))


def _inside(places: FloatArray) -> MaskArray:
    """Return which places lie in the picture."""
    height, width = places.shape[:2]
    x, y = places[..., 0], places[..., 1]
    with np.errstate(invalid='ignore'):
        return np.asarray((x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1))


def _explains(ends: FloatArray, other: Gray, gray: Gray, as_static: Gray) -> MaskArray:
    """Return where flow finds what is seen now, and a static scene would not show it.

    What only came out of hiding is found nowhere.

    :param ends: where (H, W, 2) in the other picture the flow ends.
    """
    found = cv2.remap(other, ends, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    without, with_flow = (
        cv2.blur(cv2.absdiff(gray, seen).astype(np.float32), (_WINDOW_PX, _WINDOW_PX))
        for seen in (as_static, found)
    )
    return np.asarray((without > _NOISE_LEVELS) & (with_flow < _BETTER * without))


def _pixels(width: int, height: int) -> FloatArray:
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
    return np.stack(np.meshgrid(x, y), axis=-1)


def _whole_things(sure: MaskArray, depth: FloatArray, likely: MaskArray) -> MaskArray:
    """Return the patches that surely move with the likely pixels of the same depth around."""
    whole = sure.copy()
    count, labels, facts, _ = cv2.connectedComponentsWithStats(sure.astype(np.uint8))
    for label in range(1, count):
        left, top, width, height, _ = facts[label]
        around = (
            slice(max(0, top - height // 2), top + height + height // 2 + 1),
            slice(max(0, left - width // 2), left + width + width // 2 + 1),
        )
        part = labels[around] == label
        known = depth[around][part & np.isfinite(depth[around])]
        if len(known) == 0:
            continue
        near, far = np.percentile(known, (5, 95))
        with np.errstate(invalid='ignore'):
            alike = (depth[around] > near / _SAME_DEPTH) & (depth[around] < far * _SAME_DEPTH)
        thing = _connected(part, likely[around] & alike)
        if np.count_nonzero(part) >= _LEAST_SURE * np.count_nonzero(thing):
            whole[around] |= thing
    return _without_specks(whole)


def _connected(seeds: MaskArray, among: MaskArray) -> MaskArray:
    """Return the patches of ``among`` that hold seeds."""
    _, labels = cv2.connectedComponents((seeds | among).astype(np.uint8))
    return np.asarray(np.isin(labels, np.unique(labels[seeds])) & (labels > 0))


def _without_specks(moves: MaskArray) -> MaskArray:
    """Return the mask with small holes filled and small patches gone."""
    shape = np.ones((3, 3), np.uint8)
    opened = cv2.morphologyEx(moves.astype(np.uint8), cv2.MORPH_OPEN, shape)
    closed = cv2.morphologyEx(opened, cv2.MORPH_CLOSE, np.ones((7, 7), np.uint8))
    count, labels, facts, _ = cv2.connectedComponentsWithStats(closed)
    large = facts[:, cv2.CC_STAT_AREA] >= _SMALLEST * moves.size
    large[0] = False
    return np.asarray(large[labels]) if count > 1 else np.zeros_like(moves)


def _shrunk(image: ImageArray) -> Gray:
    height, width = image.shape[:2]
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if width <= _WIDTH_PX:
        return np.asarray(gray, np.uint8)
    size = _WIDTH_PX, max(1, round(height * _WIDTH_PX / width))
    return np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), np.uint8)


def _depth_on(cloud: Cloud, camera: Camera, width: int, height: int) -> FloatArray:
    """Return the cloud's depth at each pixel of the small picture."""
    u = (np.arange(width) + 0.5) * (camera.width / width) - 0.5
    v = (np.arange(height) + 0.5) * (camera.height / height) - 0.5
    columns, rows = _rounded(*_by_axis(cloud.grid.to_grid, u, v))
    depth = cloud.depth[
        np.ix_(_clipped(rows, cloud.grid.height), _clipped(columns, cloud.grid.width))
    ]
    known = np.logical_and.outer(
        (rows >= 0) & (rows < cloud.grid.height), (columns >= 0) & (columns < cloud.grid.width)
    )
    return np.where(known & (depth > 0.0), depth, np.float32(np.nan))


def _on_grid(moves: MaskArray, cloud: Cloud, shape: tuple[int, ...]) -> MaskArray:
    """Return the mask of the small picture on the cloud's grid."""
    height, width = moves.shape
    u, v = _by_axis(cloud.grid.to_image, np.arange(cloud.grid.width), np.arange(cloud.grid.height))
    columns, rows = _rounded(
        (u + 0.5) * (width / shape[1]) - 0.5, (v + 0.5) * (height / shape[0]) - 0.5
    )
    return np.asarray(moves[np.ix_(_clipped(rows, height), _clipped(columns, width))])


def _by_axis(place: Callable[[Values], Values], u: Values, v: Values) -> tuple[Values, Values]:
    """Map columns and rows by themselves: neither needs to know the other."""
    along = place(np.stack([u, np.zeros(len(u))], axis=1))[:, 0]
    down = place(np.stack([np.zeros(len(v)), v], axis=1))[:, 1]
    return along, down


def _rounded(u: Values, v: Values) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.rint(u).astype(np.intp), np.rint(v).astype(np.intp)


def _clipped(places: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    return np.clip(places, 0, count - 1)
