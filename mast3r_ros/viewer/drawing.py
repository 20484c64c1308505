# SPDX-License-Identifier: Apache-2.0
"""Brings the newest parts onto the page; one thread draws, any thread may add poses or ask."""

from __future__ import annotations

import math
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mast3r_ros.core.ply import write_ply
from mast3r_ros.viewer import pictures
from mast3r_ros.viewer.colours import SteadyRange
from mast3r_ros.viewer.growing_map import GrowingMap
from mast3r_ros.viewer.page import Page
from mast3r_ros.viewer.parts import NO_UNIT, CloudPart, ImagePart, MatchPart, PosePart
from mast3r_ros.viewer.poses import LEVEL, Matrix, PoseTrail
from mast3r_ros.viewer.selection import Selection, ShownPoints, focal_px
from mast3r_ros.viewer.words import unit_of

_MEDIAN_DEPTH = 10.0  # what it counts as, where there is no unit
_MAP_EVERY = 8  # clouds; a map changes slowly and is large
_MAP_POINTS = 15_000  # of one cloud that go into the map; the next one brings others
_CELL_SHARE = 0.01  # of the typical depth
_OUT_OF_DATE_NS = 1_000_000_000  # matches so much older than the cloud
_MAP_DEPTHS = 2.5  # typical depths, beyond which points are too vague for the map


class Drawing:
    """What is on the page now, and how it gets there.

    :param images_of: finds the images of a pair by its stamps.
    """

    def __init__(
        self, page: Page, images_of: Callable[[int, int | None], ImagePart | None]
    ) -> None:
        self.scale_source = ''
        self._page = page
        self._images_of = images_of
        self._selection = Selection()
        self._depth_range, self._confidence_range = SteadyRange(), SteadyRange()
        self._trail = PoseTrail()
        self._lock = threading.Lock()  # of the trail
        self._map = GrowingMap()
        self._given_map: CloudPart | None = None
        self._cloud: CloudPart | None = None
        self._matches: MatchPart | None = None
        self._shown: ShownPoints | None = None
        self._T = LEVEL  # the last pose that was known: one that lags must not throw the eye about
        self._has_poses = False
        self._redraw = False
        self._clear_map = False
        self._since_map = 0

    def add_pose(self, pose: PosePart) -> None:
        """Take in where camera 1 is."""
        with self._lock:
            self._trail.add(pose)

    def redraw(self) -> None:
        """Draw what there is once more, by changed settings."""
        self._redraw = True

    def clear_map(self) -> None:
        """Have the map begin anew with the next cloud."""
        self._clear_map = True
        self._redraw = True

    def counts(self) -> tuple[int, int, int]:
        """Return points shown, points that pass the limits, and points in the map."""
        given = 0 if self._given_map is None else self._given_map.confidence.size
        if self._shown is None:
            return 0, 0, given
        in_map = given or (len(self._map) if self._map.cell else 0)
        return len(self._shown.points), self._shown.kept, in_map

    def draw(self, parts: dict[str, Any]) -> None:
        """Draw new parts, and the old ones where the settings changed."""
        redraw, self._redraw = self._redraw, False
        if self._clear_map:
            self._clear_map = False
            self._map.clear()
            self._page.world.hide_map()
        self._cloud = parts.get('cloud', self._cloud)
        self._matches = parts.get('matches', self._matches)
        if self._cloud is not None and ('cloud' in parts or redraw):
            self._draw_cloud(self._cloud, is_new='cloud' in parts)
        if 'cloud' in parts or 'matches' in parts:
            self._draw_pictures()
        if 'map' in parts:
            self._given_map = parts['map']
        if redraw or 'map' in parts or self._since_map >= _MAP_EVERY:
            self._draw_map()

    def cloud_file(self) -> tuple[str, bytes] | None:
        """Return name and PLY bytes of all points that pass the limits; None without a cloud."""
        cloud, settings = self._cloud, self._page.controls.settings
        if cloud is None:
            return None
        places, _ = Selection().passing(cloud, settings.hidden_percent, self._farthest(cloud))
        points, colors = cloud.points.reshape(-1, 3)[places], cloud.colors.reshape(-1, 3)[places]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'cloud.ply'
            write_ply(path, points, colors, cloud.confidence.reshape(-1)[places])
            return f'cloud_{cloud.stamp_ns}.ply', path.read_bytes()

    def _farthest(self, cloud: CloudPart) -> float:
        """Return the Z beyond which nothing is shown, in the cloud's own unit."""
        farthest = self._page.controls.settings.farthest
        if self.scale_source != NO_UNIT:  # unknown as yet counts as metres
            return farthest
        known = cloud.depth[np.isfinite(cloud.depth)]
        return farthest * float(np.median(known)) / _MEDIAN_DEPTH if len(known) else farthest

    def _draw_cloud(self, cloud: CloudPart, *, is_new: bool) -> None:
        settings, world = self._page.controls.settings, self._page.world
        self._shown = shown = self._selection.choose(
            cloud,
            hidden_percent=settings.hidden_percent,
            farthest=self._farthest(cloud),
            budget=settings.budget,
            colour_by=settings.colour_by,
        )
        with self._lock:
            T_known = self._trail.at(cloud.stamp_ns)
            path = self._trail.path()
        if T_known is not None:
            self._T, self._has_poses = T_known, True
        world.follow(settings.follow and self._has_poses)
        size = shown.spacing * settings.point_size
        if world.show_cloud(shown, self._T, size, _angle_of_view(cloud)):
            self._page.look_from_behind()
        if T_known is not None and is_new:
            world.show_path(path)
            self._grow_map(shown, T_known)

    def _grow_map(self, shown: ShownPoints, T: Matrix) -> None:
        if self._given_map is not None:
            return
        depth, R = self._page.world.typical_depth, T[:3, :3].astype(np.float32)
        near = np.flatnonzero(shown.points[:, 2] < _MAP_DEPTHS * depth)
        some = near[:: max(len(near) // _MAP_POINTS, 1)]
        places = shown.points[some] @ R.T + T[:3, 3].astype(np.float32)
        self._map.add(places, shown.image_colors[some], _CELL_SHARE * depth)
        self._since_map += 1

    def _draw_map(self) -> None:
        settings, world = self._page.controls.settings, self._page.world
        self._since_map = 0
        if self._given_map is not None:
            given, cell = self._given_map, _CELL_SHARE * world.typical_depth
            points, colors = given.points.reshape(-1, 3), given.colors.reshape(-1, 3)
            step = math.ceil(len(points) / settings.map_budget) or 1
            points, colors = points[::step], colors[::step]
        elif self._map.cell:
            points, colors = self._map.shown(settings.map_budget)
            cell = self._map.cell
        else:
            return
        self._page.controls.show_map_controls()
        world.show_map(points, colors, cell, settings.show_map)

    def _draw_pictures(self) -> None:
        cloud, matches = self._cloud, self._matches
        if cloud is not None:
            depth_ends = self._depth_range.follow(cloud.depth)
            confidence_ends = self._confidence_range.follow(cloud.known_confidence)
            picture = pictures.depth_and_confidence(cloud, depth_ends, confidence_ends)
            shown_from = math.nan if self._shown is None else self._shown.confidence_from
            unit = unit_of(self.scale_source)
            self._page.show_maps(picture, depth_ends, confidence_ends, shown_from, unit)
        images = self._images()
        if images is None:
            return
        if matches is not None and matches.stamp_1_ns != images.stamp_ns:
            matches = None
        count = None if matches is None else len(matches.uv_1)
        self._page.show_pair(pictures.match_picture(images, matches), _caption(images, count))

    def _images(self) -> ImagePart | None:
        """Return the images of the matches, or of the cloud where those are out of date."""
        cloud, matches = self._cloud, self._matches
        if matches is not None and (
            cloud is None or abs(cloud.stamp_ns - matches.stamp_1_ns) < _OUT_OF_DATE_NS
        ):
            found = self._images_of(matches.stamp_1_ns, matches.stamp_2_ns)
            if found is not None:
                return found
        if cloud is None:
            return None
        found = self._images_of(cloud.stamp_ns, None)
        return found or ImagePart(cloud.stamp_ns, cloud.colors)


def _caption(images: ImagePart, matches: int | None) -> str:
    if images.image_2 is None:
        return 'View 1 of the pair'
    if matches is None:
        return 'Both views of the pair'
    drawn = min(matches, pictures.MOST_MATCHES)
    which = f'{drawn} of {matches} matches' if drawn < matches else f'{matches} matches'
    return f'Both views of the pair, {which}: same colour, same point'


def _angle_of_view(cloud: CloudPart) -> tuple[float, float]:
    """Return the vertical angle of view in radians, and width over height."""
    height, width = cloud.confidence.shape
    focal = focal_px(cloud)
    if not math.isfinite(focal):
        focal = float(width)
    return 2 * math.atan2(height / 2, focal), width / height
