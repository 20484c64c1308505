# SPDX-License-Identifier: Apache-2.0
"""What the simulator says about depth, moving boxes and poses, held against plain ray casting."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.poses import as_pose, stereo_pose
from mast3r_ros.sim.boxes import pose_about_z
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.facets import Facets
from mast3r_ros.sim.flight import Flight
from mast3r_ros.sim.render import render
from mast3r_ros.sim.rendering import PairRenderer
from mast3r_ros.sim.scene import Scene
from mast3r_ros.sim.truth import MOVES, TAKES_PART, Rays, Truth, to_runs

PERIOD_S = 4.0


@cache
def scene() -> Scene:
    return Scene.make(3, PERIOD_S, texture_pixels=64)


def config(**changes) -> SimConfig:
    return SimConfig(**{'width': 160, 'height': 120, 'rate_hz': 2.0, 'duration_s': 4.0, **changes})


def hits(facets: Facets, origin: np.ndarray, ways: np.ndarray) -> np.ndarray:
    """Return (N, F) how far along each way each facet is met, inf where it is not.

    Each facet is cut into two triangles, each met by solving for its two edges.
    """
    found = np.full((len(ways), len(facets)), np.inf)
    normals = facets.planes()[:, :3]
    for second in (1, 2):
        corner = facets.corners[:, 0]
        a = facets.corners[:, second] - corner
        b = facets.corners[:, second + 1] - corner
        for index in np.flatnonzero(np.linalg.norm(np.cross(a, b), axis=1) > 1e-12):
            columns = [-ways, np.broadcast_to(a[index], ways.shape)]
            columns.append(np.broadcast_to(b[index], ways.shape))
            system = np.stack(columns, axis=2)
            system[np.abs(np.linalg.det(system)) < 1e-12] = np.nan
            to_origin = (origin - corner[index])[None, :, None]
            distance, u, v = np.linalg.solve(system, to_origin)[..., 0].T
            inside = (u >= -1e-9) & (v >= -1e-9) & (u + v <= 1.0 + 1e-9) & (distance > 0.0)
            inside &= ways @ normals[index] < 0.0
            found[inside, index] = np.minimum(found[inside, index], distance[inside])
    return found


def cast(
    camera: Camera, T_world_camera: np.ndarray, time_s: float, pixels: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the depth (NaN at the sky) and the facet that pixels (N, 2) see."""
    ways = camera.unproject(pixels) @ T_world_camera[:3, :3].T  # z = 1: the distance is the depth
    found = hits(scene().facets(time_s), T_world_camera[:3, 3], ways)
    depth, facet = found.min(axis=1), found.argmin(axis=1)
    return np.where(np.isin(facet, scene().sky), np.nan, depth), facet


def random_pixels(camera: Camera, count: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.integers(0, (camera.width, camera.height), (count, 2))


@pytest.mark.parametrize('index', range(0, 8, 3))
def test_depth_is_that_of_the_nearest_surface_on_the_pixels_ray(index):
    flight = config()
    pair = PairRenderer(flight, scene()).render(index)
    left, right = flight.cameras()
    T_world_right = pair.T_world_left @ np.linalg.inv(stereo_pose(left, right))
    for camera, side, pose in (
        (left, pair.sides[0], pair.T_world_left),
        (right, pair.sides[1], T_world_right),
    ):
        pixels = random_pixels(camera, 300)
        expected, facet = cast(camera, pose, index / flight.rate_hz, pixels)
        u, v = pixels.T
        np.testing.assert_allclose(side.depth[v, u], expected, rtol=1e-5)
        moving = facet >= scene().first_moving
        np.testing.assert_array_equal(side.mask[v, u] == MOVES, moving)


def test_depth_of_a_distorted_picture_belongs_to_its_bent_rays():
    flight = config(raw=True)
    camera = flight.cameras()[0]
    pair = PairRenderer(flight, scene()).render(1)
    pixels = random_pixels(camera, 600)
    expected, _ = cast(camera, pair.T_world_left, 1 / flight.rate_hz, pixels)
    got = pair.sides[0].depth[pixels[:, 1], pixels[:, 0]]
    # A surface narrower than a pixel may be overlooked between two bent rays.
    wrong = ~np.isclose(got, expected, rtol=1e-5, equal_nan=True)
    assert wrong.mean() < 0.005


def test_both_pictures_tell_the_same_depth_of_the_same_place():
    flight = config(width=320, height=240)
    left, right = flight.cameras()
    pair = PairRenderer(flight, scene()).render(2)
    truth_left, truth_right = (side.truth for side in pair.sides)
    depth = truth_left.depth()
    points = left.rays.astype(np.float64) * depth[..., None]
    points = points.reshape(-1, 3) + stereo_pose(left, right)[:3, 3]
    u, v = right.project(points).T
    at = np.rint(np.nan_to_num(u, nan=-1.0)).astype(int), np.rint(np.nan_to_num(v)).astype(int)
    shown = (at[0] >= 0) & (at[0] < right.width)
    facet = truth_left.numbers().ravel()
    shown[shown] = truth_right.numbers()[at[1][shown], at[0][shown]] == facet[shown]
    assert shown.mean() > 0.7
    rays = np.stack([(u - right.cx) / right.fx, (v - right.cy) / right.fy, np.ones_like(u)], 1)
    inverse = np.einsum('ni,ni->n', truth_right.planes[facet], rays)
    np.testing.assert_allclose(1.0 / inverse[shown], points[shown, 2], rtol=1e-5)


def test_moving_boxes_are_seen_and_everything_else_takes_part():
    pairs = PairRenderer(config(), scene())
    masks = [pairs.render(index).sides[0].mask for index in range(8)]
    assert all(set(np.unique(mask)) <= {MOVES, TAKES_PART} for mask in masks)
    seen = [np.mean(mask == MOVES) for mask in masks]
    assert sum(share > 0.002 for share in seen) >= 6
    assert max(seen) < 0.4


def test_depth_stays_within_the_range_of_the_scene():
    pairs = PairRenderer(config(), scene())
    depths = np.concatenate([pairs.render(index).sides[0].depth.ravel() for index in range(8)])
    assert np.nanmin(depths) > 0.6
    assert np.nanmax(depths) < 20.0
    assert 0.0 < np.isnan(depths).mean() < 0.3


@given(st.floats(0.0, 100.0), st.floats(1.0, 60.0))
def test_poses_are_rigid(time_s, period_s):
    pose = as_pose(Flight(period_s).pose(time_s))
    np.testing.assert_allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) > 0.0


def test_the_flight_is_smooth_and_joins_where_it_began():
    times = np.arange(0.0, 32.0, 0.02)  # two loops
    poses = np.stack([Flight(16.0).pose(time_s) for time_s in times])
    place, ahead = poses[:, :3, 3], poses[:, :3, 2]
    np.testing.assert_allclose(poses[:800], poses[800:], atol=1e-9)
    np.testing.assert_allclose(Flight(16.0).pose(16.0 - 1e-7), poses[0], atol=1e-5)
    for track, most_speed, most_change in ((place, 3.0, 6.0), (ahead, 1.5, 3.0)):
        speed = np.diff(track, axis=0) / 0.02
        assert np.linalg.norm(speed, axis=1).max() < most_speed
        assert np.linalg.norm(np.diff(speed, axis=0) / 0.02, axis=1).max() < most_change


def test_the_view_is_upright_and_looks_down_a_little():
    poses = np.stack([Flight(16.0).pose(time_s) for time_s in np.arange(0.0, 16.0, 0.5)])
    right, down, ahead = poses[:, 2, 0], poses[:, 2, 1], poses[:, 2, 2]
    assert np.abs(right).max() < 0.2
    assert down.max() < -0.8
    assert ahead.max() < -0.2


@settings(max_examples=20, deadline=None)
@given(st.floats(0.0, PERIOD_S))
def test_the_world_is_the_same_after_each_loop(time_s):
    first, later = scene().facets(time_s), scene().facets(time_s + 3 * PERIOD_S)
    np.testing.assert_allclose(first.corners, later.corners, atol=1e-6)
    np.testing.assert_allclose(first.charts, later.charts, rtol=1e-6, atol=1e-6)


def test_the_world_ends_a_loop_where_it_begins_one():
    first, last = scene().facets(0.0), scene().facets(PERIOD_S * (1.0 - 1e-7))
    np.testing.assert_allclose(first.corners, last.corners, atol=1e-4)


def test_only_the_moving_boxes_move():
    first, later = scene().facets(0.0), scene().facets(1.0)
    shift = np.linalg.norm(later.corners - first.corners, axis=2).max(axis=1)
    still = scene().first_moving
    assert shift[:still].max() == 0.0
    assert shift[still:].min() > 0.05
    assert len(first) == still + 6 * len(scene().movers)


def at_corners(facets: Facets) -> np.ndarray:
    one = np.ones((*facets.corners.shape[:2], 1))
    return np.einsum('fki,fci->fck', facets.charts, np.concatenate([facets.corners, one], 2))


def test_pictures_stick_to_facets_that_are_moved():
    facets = scene().facets(0.0)
    T = pose_about_z(0.7)
    T[:3, 3] = 1.0, -2.0, 0.5
    moved = facets.moved(T)
    np.testing.assert_allclose(at_corners(moved), at_corners(facets), atol=1e-6)


def test_nothing_drawn_depends_on_where_the_camera_stands():
    camera = config().cameras()[0]
    for place in ((0.0, 0.0, 30.0), (50.0, 0.0, 3.0), (0.0, 0.0, -5.0)):
        T = np.eye(4)
        T[:3, :3] = Flight().pose(0.0)[:3, :3]
        T[:3, 3] = place
        depth = render(scene(), camera, T, 0.0).depth
        assert depth.shape == (120, 160)
        assert not np.isinf(depth).any()
        assert np.all(depth[np.isfinite(depth)] > 0.0)


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(1, 9), st.integers(1, 9))
def test_facet_numbers_survive_being_packed(data, height, width):
    values = st.integers(0, 65534)
    numbers = np.array(
        data.draw(st.lists(values, min_size=height * width, max_size=height * width)), np.uint16
    ).reshape(height, width)
    numbers = np.minimum(numbers, data.draw(values)).astype(np.uint16)
    rays = Rays.of(Camera.pinhole(width, height, 10.0, 10.0, 0.0, 0.0))
    truth = Truth(to_runs(numbers), np.ones((65535, 3)), 9, rays)
    np.testing.assert_array_equal(truth.numbers(), numbers)
    np.testing.assert_array_equal(truth.mask() == MOVES, numbers >= 9)
