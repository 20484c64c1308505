# SPDX-License-Identifier: Apache-2.0
"""The 3D part of the page: cloud, map, camera and path in a world whose z points up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.rotations import quaternion_of
from mast3r_ros.viewer.poses import Matrix, heading_of
from mast3r_ros.viewer.selection import ShownPoints

_LINE_PX = 2.0
_PATH_RGB = (230, 159, 0)
_CAMERA_RGB = (86, 180, 233)
_PATH_PIECES = 600
_FRUSTUM_SHARE = 0.06  # of the typical depth
_MAP_POINT_SHARE = 0.9  # of a cell


class World:
    """Draws into viser's scene; everything hangs below one node, which follows the camera.

    :param server: viser's.
    """

    def __init__(self, server: Any) -> None:
        self._server = server
        self._scene = server.scene
        self._scene.set_up_direction('+z')
        self._root = self._scene.add_frame('/world', show_axes=False)
        self._depth: float | None = None  # typical, of the clouds so far
        self._T_world_camera: Matrix = np.eye(4)
        self._follows = False
        self._cloud: Any = None
        self._camera: Any = None
        self._map: Any = None
        self._path: Any = None

    @property
    def typical_depth(self) -> float:
        """Depth that the size of things and the first look are chosen by."""
        return self._depth or 5.0

    def show_cloud(
        self, shown: ShownPoints, T_world_camera: Matrix, size: float, view: tuple[float, float]
    ) -> bool:
        """Show a cloud where its camera is; return whether it is the first.

        :param size: side of a point, in the cloud's unit.
        :param view: the camera's vertical angle of view, and its width over height.
        """
        is_first = self._depth is None and len(shown.points) > 0
        if len(shown.points):
            median = float(np.median(shown.points[:, 2]))
            self._depth = 0.9 * self.typical_depth + 0.1 * median if self._depth else median
        turn, place = _turn_and_place(T_world_camera)
        self._T_world_camera = T_world_camera
        with self._server.atomic():
            self._cloud = self._points('/world/cloud', self._cloud, shown.points, shown.colors)
            if self._cloud is not None:
                self._cloud.wxyz, self._cloud.position = turn, place
                self._cloud.point_size = size
            self._show_camera(turn, place, view)
            self._move_root()
        return is_first

    def _points(
        self,
        name: str,
        handle: Any,
        points: NDArray[np.float32],
        colors: NDArray[np.uint8],
        precision: str = 'float16',
    ) -> Any:
        """Return the node of some points; kept and changed, since a new one lags in browsers."""
        if len(points) == 0:
            if handle is not None:
                handle.visible = False
            return handle
        if handle is None:
            return self._scene.add_point_cloud(
                name, points, colors, point_shading='flat', precision=precision
            )
        handle.points, handle.colors = points, colors
        handle.visible = True
        return handle

    def _show_camera(
        self, turn: tuple[float, ...], place: tuple[float, ...], view: tuple[float, float]
    ) -> None:
        scale = _FRUSTUM_SHARE * self.typical_depth
        if self._camera is None:
            self._camera = self._scene.add_camera_frustum(
                '/world/camera',
                *view,
                scale=scale,
                thickness=_LINE_PX,
                thickness_units='screen',
                color=_CAMERA_RGB,
                cast_shadow=False,
                receive_shadow=False,
            )
        camera = self._camera
        camera.wxyz, camera.position = turn, place
        camera.fov, camera.aspect, camera.scale = *view, scale

    def show_path(self, places: NDArray[np.float32]) -> None:
        """Show where the camera was."""
        if len(places) < 2:
            return
        step = math.ceil(len(places) / _PATH_PIECES)
        thinned = np.concatenate([places[::step], places[-1:]])
        pieces = np.stack([thinned[:-1], thinned[1:]], axis=1)
        if self._path is None:
            self._path = self._scene.add_line_segments(
                '/world/path', pieces, _PATH_RGB, thickness=_LINE_PX, thickness_units='screen'
            )
        else:
            self._path.points = pieces

    def show_map(
        self, points: NDArray[np.float32], colors: NDArray[np.uint8], cell: float, visible: bool
    ) -> None:
        """Show the map; it stands still, so its points may be far from the camera."""
        with self._server.atomic():
            self._map = self._points('/world/map', self._map, points, colors, 'float32')
            if self._map is not None:
                self._map.point_size = _MAP_POINT_SHARE * cell
                self._map.visible = visible and len(points) > 0

    def hide_map(self) -> None:
        """Show no map until the next one."""
        if self._map is not None:
            self._map.visible = False

    def follow(self, follows: bool) -> None:
        """Have the world turn about the camera, or the camera fly through the world."""
        if follows != self._follows:
            self._follows = follows
            self._move_root()

    def look_from_behind(self, client: Any = None) -> None:
        """Put one browser's eye behind and above the camera; none: of those that come later."""
        depth = self.typical_depth
        eye, target = np.array([-0.5, 0.0, 0.25]) * depth, np.array([0.8, 0.0, -0.05]) * depth
        R, offset = np.eye(3), np.zeros(3)
        if not self._follows:
            R, offset = _about_z(heading_of(self._T_world_camera)), self._T_world_camera[:3, 3]
        cameras = [self._server.initial_camera] if client is None else [client.camera]
        for camera in cameras:
            camera.position = tuple(R @ eye + offset)
            camera.look_at = tuple(R @ target + offset)

    def _move_root(self) -> None:
        turn, place = _turn_and_place(np.eye(4))
        if self._follows:
            R = _about_z(-heading_of(self._T_world_camera))
            T = np.eye(4)
            T[:3, :3], T[:3, 3] = R, -R @ self._T_world_camera[:3, 3]
            turn, place = _turn_and_place(T)
        self._root.wxyz = turn
        self._root.position = place


def _turn_and_place(T: Matrix) -> tuple[tuple[float, ...], tuple[float, ...]]:
    x, y, z, w = (float(value) for value in quaternion_of(T[:3, :3]))
    return (w, x, y, z), tuple(float(value) for value in T[:3, 3])


def _about_z(angle: float) -> NDArray[np.float64]:
    c, s = math.cos(angle), math.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
