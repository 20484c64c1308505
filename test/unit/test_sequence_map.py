# SPDX-License-Identifier: Apache-2.0
"""The map: cubes of space with one point each, a limit that holds, and keyframes that move."""

from __future__ import annotations

import numpy as np
import pytest

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.views import Grid, View
from mast3r_ros.sequence import sequence_map
from mast3r_ros.sequence.keyframe import Keyframe
from mast3r_ros.sequence.sequence_map import LayingTime, SequenceMap
from mast3r_ros.sequence.voxel_map import VoxelMap
from mast3r_ros.sequence_config import SequenceConfig

CAMERA = Camera.pinhole(40, 30, 35.0, 35.0, 19.5, 14.5)


def keyframe(number=0, depth_m=2.0) -> Keyframe:
    image = np.full((30, 40, 3), 100 + number, np.uint8)
    return Keyframe(
        number,
        View(image, CAMERA),
        CAMERA,
        Grid(image, None, CAMERA),
        np.full((30, 40), depth_m, np.float32),
        np.full((30, 40), 4.0, np.float32),
        np.eye(4),
        np.zeros(3, np.float32),
    )


class Store(list):
    """Keyframes without an engine behind them."""

    changes = 0


def filled(voxels: VoxelMap, points, color=(10, 20, 30), weight=1.0) -> VoxelMap:
    points = np.asarray(points, np.float32)
    colors = np.tile(np.uint8(color), (len(points), 1))
    voxels.add(points, colors, np.full(len(points), weight, np.float32))
    return voxels


def test_points_of_one_cube_become_their_weighted_mean():
    voxels = filled(VoxelMap(1.0, 100), [[0.2, 0.2, 0.2]], (0, 0, 0), 1.0)
    filled(voxels, [[0.6, 0.6, 0.6]], (200, 100, 40), 3.0)
    cloud = voxels.cloud()
    np.testing.assert_allclose(cloud.points, [[0.5, 0.5, 0.5]], rtol=1e-6)
    np.testing.assert_array_equal(cloud.colors, [[150, 75, 30]])
    np.testing.assert_allclose(cloud.weights, [4.0])


def test_cubes_on_both_sides_of_zero_are_different_ones():
    points = [[-0.1, 0.1, 0.1], [0.1, 0.1, 0.1], [0.1, -0.1, 0.1], [0.1, 0.1, -0.1]]
    assert len(filled(VoxelMap(1.0, 100), points)) == 4


def test_the_order_of_points_does_not_matter():
    points = np.random.default_rng(0).uniform(-3, 3, (5000, 3))
    one = filled(VoxelMap(0.5, 10_000), points).cloud()
    other = filled(VoxelMap(0.5, 10_000), points[::-1]).cloud()
    np.testing.assert_allclose(one.points, other.points, atol=1e-5)


def test_what_is_no_point_is_left_out():
    voxels = VoxelMap(0.1, 100)
    points = np.array([[np.nan, 0, 0], [np.inf, 0, 0], [1e12, 0, 0], [1, 1, 1]], np.float32)
    voxels.add(points, np.zeros((4, 3), np.uint8), np.array([1, 1, 1, 0], np.float32))
    assert len(voxels) == 0


def test_with_too_many_points_the_cubes_grow_and_every_place_stays_covered():
    points = np.random.default_rng(0).uniform(0, 10, (20_000, 3)).astype(np.float32)
    voxels = filled(VoxelMap(0.05, 1000), points)
    assert len(voxels) <= 1000
    assert voxels.voxel in (0.8, 1.6)
    kept = np.unique(np.floor(voxels.cloud().points / voxels.voxel), axis=0)
    meant = np.unique(np.floor(points / np.float32(voxels.voxel)), axis=0)
    np.testing.assert_array_equal(kept, meant)
    assert voxels.cloud().weights.sum() == pytest.approx(20_000, rel=1e-3)


@pytest.mark.parametrize(
    'millions', [1, pytest.param(10, marks=pytest.mark.soak)], ids='{} million'.format
)
def test_millions_of_points_stay_within_the_limit(millions):
    rng = np.random.default_rng(0)
    voxels = VoxelMap(0.02, 300_000)
    for _ in range(2 * millions):
        points = rng.random((500_000, 3), np.float32) * np.float32(20.0)
        voxels.add(points, np.zeros((len(points), 3), np.uint8), np.ones(len(points), np.float32))
        assert len(voxels) <= 300_000
        assert voxels.nbytes <= 300_000 * 36
    assert voxels.cloud().weights.sum() == pytest.approx(1e6 * millions, rel=1e-3)


def test_depth_is_fused_by_confidence_and_doubts_what_contradicts():
    item = keyframe(depth_m=2.0)
    item.fuse(np.full((30, 40), 2.1, np.float32), np.full((30, 40), 4.0, np.float32))
    assert item.depth[0, 0] == pytest.approx(2.045, abs=0.01)
    before = item.depth[0, 0]
    item.fuse(np.full((30, 40), 20.0, np.float32), np.full((30, 40), 4.0, np.float32))
    assert item.depth[0, 0] == pytest.approx(before, rel=0.02)


def test_depth_is_filled_in_where_there_was_none():
    item = keyframe()
    item.depth[:10], item.weight[:10] = np.nan, 0.0
    item.fuse(np.full((30, 40), 3.0, np.float32), np.full((30, 40), 1.0, np.float32))
    np.testing.assert_allclose(item.depth[:10], 3.0)
    assert np.isfinite(item.depth).all()


def test_what_moves_by_itself_never_gets_a_depth():
    item = keyframe()
    moves = np.zeros((30, 40), np.bool_)
    moves[5:10, 5:10] = True
    item.hide(moves)
    item.fuse(np.full((30, 40), 3.0, np.float32), np.full((30, 40), 9.0, np.float32))
    assert np.isnan(item.depth[moves]).all()
    assert len(item.cloud()[0]) == 30 * 40 - 25


def test_a_keyframe_that_is_let_go_keeps_a_cloud():
    item = keyframe()
    before = item.cloud()[0]
    item.let_go()
    assert item.view is None
    assert not item.has_depth
    np.testing.assert_array_equal(item.cloud()[0], before)


def test_the_map_follows_when_keyframes_are_moved():
    store = Store([keyframe(0), keyframe(1)])
    scene = SequenceMap(store, SequenceConfig(map_voxel=0.05))
    still = scene.cloud(final=True)
    assert still.points[:, 2] == pytest.approx(2.0)
    store[1].T_world_camera = store[1].T_world_camera.copy()
    store[1].T_world_camera[2, 3] = 5.0
    store[1].scale = 2.0
    assert len(scene.cloud(final=True)) == len(still)  # nobody said that anything changed
    store.changes += 1
    moved = scene.cloud(final=True)
    assert set(np.round(moved.points[:, 2]).tolist()) == {2.0, 9.0}


def test_the_last_keyframe_counts_only_at_the_end():
    store = Store([keyframe(0, 2.0), keyframe(1, 4.0)])
    scene = SequenceMap(store, SequenceConfig(map_voxel=0.05))
    assert scene.cloud().points[:, 2].max() == pytest.approx(2.0)
    assert scene.cloud(final=True).points[:, 2].max() == pytest.approx(4.0)


def test_points_of_little_confidence_are_left_out():
    item = keyframe()
    item.weight[:, :20] = 0.2
    scene = SequenceMap(Store([item]), SequenceConfig(map_voxel=0.001, map_confidence=2.0))
    assert len(scene.cloud(final=True)) == 30 * 20


def test_the_map_so_far_shows_the_last_keyframe_too_without_keeping_it():
    keyframes = Store([keyframe(0, 2.0), keyframe(1, 3.0)])
    scene = SequenceMap(keyframes, SequenceConfig(map_voxel=0.01))
    settled = len(scene.cloud())
    assert len(scene.cloud_so_far()) == 2 * settled
    keyframes[1].depth[:] = 4.0  # it is still being improved
    keyframes.append(keyframe(2))
    assert np.unique(np.rint(scene.cloud().points[:, 2])).tolist() == [2.0, 4.0]


def walk(count: int) -> Store:
    """Return keyframes side by side, more points each than are laid at a time."""
    store = Store([keyframe(number, 2.0 + 0.1 * number) for number in range(count)])
    for number, item in enumerate(store):
        item.T_world_camera = shifted(0.1 * number)
    return store


def shifted(x: float) -> np.ndarray:
    T = np.eye(4)
    T[0, 3] = x
    return T


def move(store: Store, x: float) -> None:
    """Correct all keyframes, as closing a loop does."""
    for number, item in enumerate(store):
        item.T_world_camera = shifted(x + 0.1 * number)
    store.changes += 1


def assert_equal(one, other) -> None:
    for part in ('points', 'colors', 'weights'):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


@pytest.fixture
def small_slices(monkeypatch):
    monkeypatch.setattr(sequence_map, '_SLICE', 500)


def test_a_map_laid_in_slices_is_the_one_laid_at_once(small_slices):
    store = walk(6)
    at_once, sliced = (SequenceMap(store, SequenceConfig(map_voxel=0.05)) for _ in range(2))
    for x in (0.0, 50.0):
        move(store, x)
        calls = 1
        while not sliced.lay(0.0):
            calls += 1
        assert calls > 5 * 2  # of 1200 points each keyframe
        assert_equal(sliced.cloud(), at_once.cloud())
        assert_equal(sliced.cloud_so_far(), at_once.cloud_so_far())


def test_until_a_moved_map_is_whole_the_one_from_before_is_shown(small_slices):
    store = walk(6)
    scene = SequenceMap(store, SequenceConfig(map_voxel=0.05))
    before = scene.cloud()
    move(store, 50.0)
    seen = []
    while not scene.lay(0.0):
        seen.append(scene.share_laid)
        assert_equal(scene.cloud_so_far(), before)
    assert 0.0 <= min(seen) < max(seen) < 1.0 == scene.share_laid
    assert scene.cloud_so_far().points[:, 0].min() > 40.0


def test_a_map_that_is_moved_again_and_again_gets_done_and_is_never_a_mixture(small_slices):
    store = walk(6)
    scene = SequenceMap(store, SequenceConfig(map_voxel=0.05))
    least = 0.9 * len(scene.cloud())
    shown = set()
    for times in range(1, 120):
        if times % 4 == 0:
            move(store, 50.0 * times)
            if len(store) < 10:
                store.append(keyframe(len(store)))
                store[-1].T_world_camera = shifted(50.0 * times)
        scene.lay(0.0)
        ahead = scene.cloud_so_far().points[:, 0]
        assert np.ptp(ahead) < 10.0
        assert len(ahead) > least
        shown.add(round(float(ahead.min()), 1))
    assert len(shown) > 2
    assert_equal(scene.cloud(), SequenceMap(store, SequenceConfig(map_voxel=0.05)).cloud())


def test_laying_anew_holds_no_more_than_the_map_and_what_is_shown_of_it(small_slices):
    store = walk(6)
    limit = 1000
    scene = SequenceMap(store, SequenceConfig(map_voxel=0.001, map_points_max=limit))
    scene.cloud()
    move(store, 50.0)
    while not scene.lay(0.0):
        assert len(scene.cloud_so_far()) <= limit
        assert scene.nbytes <= limit * (36 + 19)
    assert scene.nbytes <= limit * 36


def test_a_single_keyframe_is_laid_once_it_is_no_more_the_last(small_slices):
    store = walk(1)
    scene = SequenceMap(store, SequenceConfig(map_voxel=0.05))
    assert scene.lay()
    assert len(scene.cloud()) == 0
    assert len(scene.cloud_so_far()) > 0
    store.append(keyframe(1))
    assert not scene.lay(0.0)
    assert len(scene.cloud()) > 0


def test_who_asks_late_for_the_map_is_given_no_more_than_a_moment_a_frame():
    time = LayingTime(100.0)
    assert time.after_frame(700.0) == pytest.approx(0.1)  # nothing came for minutes
    assert time.after_frame(700.5) == pytest.approx(0.05)
    assert time.after_frame(700.51) == pytest.approx(0.02)
