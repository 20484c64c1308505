# SPDX-License-Identifier: Apache-2.0
"""All keyframes: which one is followed against, which are alike, and the graph between them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.products import Cloud, Product
from mast3r_ros.core.results import FloatArray, ScaleSource
from mast3r_ros.core.views import Grid, View
from mast3r_ros.errors import Mast3rError
from mast3r_ros.sequence.answers import Answers
from mast3r_ros.sequence.keyframe import Keyframe, slopes_of
from mast3r_ros.sequence.pair_fit import PairFit, fit_pair
from mast3r_ros.sequence.pose_graph import Edge, Nodes, optimise, sparse_solver
from mast3r_ros.sequence.unknown_camera import UnknownCamera
from mast3r_ros.sequence_config import SequenceConfig

_LOOP_GAP = 2  # keyframes back at least, for an edge that is not the sequence's own


class Keyframes:
    """Keyframes of one sequence.

    ``changes`` counts how often poses were corrected, so that a map knows when it is out of date.
    ``unknown`` is the camera of views without calibration.
    """

    def __init__(self, answers: Answers, config: SequenceConfig) -> None:
        self.changes = 0
        self.loops = 0
        self.edges: list[Edge] = []
        self.unknown = UnknownCamera(config.solver)
        if config.loop_edges:
            sparse_solver()  # rather now than at the first loop
        self._answers = answers
        self._config = config
        self._all: list[Keyframe] = []
        self._current: Keyframe | None = None

    def __len__(self) -> int:
        return len(self._all)

    def __iter__(self) -> Iterator[Keyframe]:
        return iter(self._all)

    def __getitem__(self, number: int) -> Keyframe:
        return self._all[number]

    @property
    def current(self) -> Keyframe:
        """The keyframe that frames are followed against."""
        assert self._current is not None
        return self._current

    def restore(self, keyframes: list[Keyframe], edges: list[Edge], current: int) -> None:
        """Take over the keyframes of an interrupted run."""
        self._all, self.edges = keyframes, edges
        self.loops = sum(not edge.certain for edge in edges)
        self.refer_to(keyframes[current])

    def add(
        self,
        view: View,
        T_world_camera: Matrix,
        cloud: Cloud | None,
        source: ScaleSource,
    ) -> Keyframe:
        """Add a keyframe whose depth is in the world's unit, and follow against it."""
        keyframe = self.made(view, T_world_camera, cloud, source)
        self.take_in(keyframe)
        return keyframe

    def made(
        self,
        view: View,
        T_world_camera: Matrix,
        cloud: Cloud | None,
        source: ScaleSource,
    ) -> Keyframe:
        """Return the keyframe that would come next; it is one once it is taken in."""
        grid, depth, weight = _depth_of(view, cloud)
        keyframe = Keyframe(
            len(self._all),
            view,
            view.camera or self.unknown.camera_of(view),
            grid,
            depth,
            weight,
            np.array(T_world_camera),
            self._answers.descriptor(view),
            scale_source=source,
            stamp_ns=view.stamp_ns,
            is_calibrated=view.camera is not None,
        )
        if not keyframe.is_calibrated and self.unknown.goes_by_points:
            empty = np.full((*depth.shape, 2), np.nan, np.float32)
            keyframe.slopes = empty if cloud is None else slopes_of(cloud.points)
        return keyframe

    def take_in(self, keyframe: Keyframe) -> None:
        """Follow against a keyframe, which may be one that was only made as yet."""
        is_new = keyframe.number == len(self._all)
        if is_new:
            self._all.append(keyframe)
        self.refer_to(keyframe)
        if is_new:
            self._let_go()

    def add_after(
        self,
        keyframe: Keyframe,
        view: View,
        T_keyframe_camera: Matrix,
        cloud: Cloud | None,
        source: ScaleSource,
    ) -> Keyframe:
        """Add a keyframe whose place in an earlier one is known."""
        step = T_keyframe_camera.copy()
        step[:3, 3] *= keyframe.scale
        added = self.add(view, keyframe.T_world_camera @ step, cloud, source)
        self.edges.append(
            Edge(
                keyframe.number,
                added.number,
                T_keyframe_camera,
                1.0 / keyframe.scale,
                keyframe.typical_depth,
            )
        )
        return added

    def refer_to(self, keyframe: Keyframe) -> None:
        """Follow against this keyframe from now on."""
        self._current = keyframe
        if keyframe.view is not None:
            self._answers.hold(keyframe.view)

    def learn_camera(self, view: View, cloud: Cloud | None) -> None:
        """Have a view without calibration tell of its camera by its own points."""
        if self.unknown.look(view, cloud):
            self.take_camera(self.unknown.camera_of(view), certain=self.unknown.is_settled)

    def suppose_camera(self, view: View, cloud: Cloud | None) -> None:
        """Suppose that a view's points are right, where nothing else tells of its camera."""
        if self.unknown.suppose(view, cloud):
            self.take_camera(self.unknown.camera_of(view), certain=False)

    def take_camera(self, camera: Camera, *, certain: bool) -> None:
        """Lay the keyframes that have no calibration on the rays of a camera.

        :param certain: it stays this one.
        """
        for item in self._all:
            if item.is_calibrated:
                continue
            if item.slopes is not None:
                item.slopes = item.slopes * np.float32(item.camera.fx / camera.fx)
            item.camera = camera
            if certain:
                item.is_calibrated, item.slopes = True, None
                if item.view is not None:
                    item.view = item.view.with_camera(camera)
        if self._current is not None:
            self.refer_to(self._current)
        self.changes += 1

    def alike(self, view: View, count: int) -> list[Keyframe]:
        """Return the keyframes most alike a picture, the most alike first."""
        if count == 0:
            return []
        others = [item for item in self._all if item.view is not None and item.has_depth]
        return self._ranked(self._answers.descriptor(view), others)[:count]

    def close_loops(self, keyframe: Keyframe) -> int:
        """Look for earlier keyframes that see the same; return how many edges were added.

        With any, all poses are made to agree.
        """
        count = self._config.loop_edges
        known = {edge.a for edge in self.edges if edge.b == keyframe.number}
        others = [
            item
            for item in self._all[: max(0, keyframe.number - _LOOP_GAP + 1)]
            if item.view is not None and item.has_depth and item.number not in known
        ]
        if count == 0 or not others or not keyframe.has_depth:
            return 0
        found = 0
        for other in self._ranked(keyframe.descriptor, others)[:count]:
            edge = self._loop_edge(keyframe, other)
            if edge is not None:
                self.edges.append(edge)
                found += 1
        if found:
            self.loops += found
            self._agree()
        return found

    def _loop_edge(self, keyframe: Keyframe, other: Keyframe) -> Edge | None:
        assert keyframe.view is not None
        assert other.view is not None
        try:
            result = self._answers.pair(keyframe.view, other.view, Product.MATCHES)
        except Mast3rError:  # the sequence goes on without this edge
            return None
        fit = fit_pair(
            result,
            other,
            (_between(keyframe, other),),
            self._config,
            keyframe.camera,
            surface_1=(keyframe.points, keyframe.grid),
            strict=True,
        )
        if fit.reason or not fit.has_length or not np.isfinite(fit.scale_1):
            return None
        return _edge_of(fit, keyframe)

    def _agree(self) -> None:
        """Make all keyframes agree with all edges."""
        metric = all(item.scale_source is ScaleSource.STEREO_BASELINE for item in self._all)
        nodes = Nodes(
            np.stack([item.T_world_camera for item in self._all]),
            np.array([item.scale for item in self._all]),
        )
        moved = optimise(nodes, self.edges, fixed_scale=metric)
        for item, T, scale in zip(self._all, moved.T, moved.scale, strict=True):
            item.T_world_camera, item.scale = T, float(scale)
        self.changes += 1

    def _ranked(self, descriptor: FloatArray, others: list[Keyframe]) -> list[Keyframe]:
        if not others:
            return []
        alike = np.stack([item.descriptor for item in others]) @ descriptor
        return [others[row] for row in np.argsort(-alike, kind='stable')]

    def _let_go(self) -> None:
        """Free pictures and depth of the oldest keyframes beyond the limit; poses stay."""
        whole = [item for item in self._all if item.view is not None]
        for item in whole[1 : 1 + max(0, len(whole) - self._config.keyframes_max)]:
            if item is not self._current:
                item.let_go(self._config.map_confidence)


def _between(keyframe: Keyframe, other: Keyframe) -> Matrix:
    """Return ``T_keyframe_other`` in the other's unit, as it is believed now."""
    T = np.linalg.inv(keyframe.T_world_camera) @ other.T_world_camera
    T[:3, 3] /= other.scale
    return np.asarray(T)


def _edge_of(fit: PairFit, keyframe: Keyframe) -> Edge:
    other = fit.keyframe
    # scale_1 is the other's unit over the keyframe's: a length here, times it, is one there.
    return Edge(
        other.number,
        keyframe.number,
        fit.T_keyframe_camera,
        fit.scale_1,
        other.typical_depth,
        certain=False,
    )


def _depth_of(view: View, cloud: Cloud | None) -> tuple[Grid, FloatArray, FloatArray]:
    """Return grid, depth and weight of a cloud; a grid of the picture's own pixels without."""
    if cloud is None:
        grid = Grid(view.image, view.mask, view.camera)
        shape = view.image.shape[:2]
        return grid, np.full(shape, np.nan, np.float32), np.zeros(shape, np.float32)
    depth = np.where(cloud.depth > 0.0, cloud.depth, np.float32(np.nan))
    weight = np.where(np.isfinite(depth), cloud.confidence - np.float32(1.0), np.float32(0.0))
    return cloud.grid, depth, np.maximum(weight, np.float32(0.0))
