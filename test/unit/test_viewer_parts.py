# SPDX-License-Identifier: Apache-2.0
"""What the view makes of parts: the points it picks, colours, pictures, map, poses, plots."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from mast3r_ros.core.rotations import rotation_of
from mast3r_ros.viewer.colours import DEPTH, SteadyRange, coloured, css_gradient
from mast3r_ros.viewer.controls import Settings
from mast3r_ros.viewer.drawing import Drawing
from mast3r_ros.viewer.growing_map import GrowingMap
from mast3r_ros.viewer.history import SECONDS, History
from mast3r_ros.viewer.image_store import ImageStore
from mast3r_ros.viewer.parts import CloudPart, ImagePart, MatchPart, PosePart, StatsPart
from mast3r_ros.viewer.pictures import WIDTH, depth_and_confidence, match_picture
from mast3r_ros.viewer.plots import top_of
from mast3r_ros.viewer.poses import LEVEL, PoseTrail, heading_of
from mast3r_ros.viewer.selection import Selection, focal_px

FOCAL = 100.0


def cloud_of(height=60, width=80, depth=4.0, stamp_ns=1):
    """A wall straight ahead, more confident to the right, with a hole."""
    v, u = np.mgrid[:height, :width].astype(np.float32)
    z = np.full((height, width), depth, np.float32)
    z[:10, :10] = np.nan
    x = (u - (width - 1) / 2) / FOCAL * z
    y = (v - (height - 1) / 2) / FOCAL * z
    colors = np.full((height, width, 3), 200, np.uint8)
    return CloudPart(stamp_ns, np.stack([x, y, z], axis=-1), colors, 1 + u / width)


def choose(cloud, selection=None, **changes):
    options = {'hidden_percent': 0.0, 'farthest': 100.0, 'budget': 10**6, **changes}
    return (selection or Selection()).choose(cloud, **options)


def test_every_known_point_is_shown_where_nothing_limits_it():
    shown = choose(cloud_of())
    assert shown.kept == len(shown.points) == 60 * 80 - 100
    assert np.isfinite(shown.points).all()


def test_no_more_points_are_shown_than_the_budget_allows():
    shown = choose(cloud_of(), budget=500)
    assert shown.kept == 4700
    assert 400 <= len(shown.points) <= 500


def test_the_same_pixels_are_shown_every_time():
    selection = Selection()
    first, second = (choose(cloud_of(), selection, budget=500) for _ in range(2))
    np.testing.assert_array_equal(first.points, second.points)


def test_the_least_sure_and_the_farthest_are_left_out():
    assert choose(cloud_of(), hidden_percent=50.0).kept == pytest.approx(4700 / 2, rel=0.03)
    assert choose(cloud_of(), farthest=3.9).kept == 0


def test_an_empty_cloud_shows_nothing():
    cloud = cloud_of()
    cloud.points[:] = np.nan
    assert len(choose(cloud).points) == 0


def test_the_focal_length_is_seen_from_the_points():
    assert focal_px(cloud_of()) == pytest.approx(FOCAL, rel=1e-4)


def test_spacing_is_the_distance_of_neighbours_that_are_shown():
    assert choose(cloud_of()).spacing == pytest.approx(4.0 / FOCAL, rel=1e-3)
    assert choose(cloud_of(), budget=1175).spacing == pytest.approx(2 * 4.0 / FOCAL, rel=0.1)


def test_near_is_bright_in_3d_as_in_the_picture():
    cloud = cloud_of()
    cloud.points[:, 40:, 2] *= 3
    shown = choose(cloud, colour_by='depth')
    assert (shown.image_colors == 200).all()  # for the map, which mixes depths
    near = shown.points[:, 2] < 6
    assert shown.colors[near].sum(axis=1).mean() > shown.colors[~near].sum(axis=1).mean()


def test_unknown_values_have_a_grey_of_their_own():
    colors = coloured(np.array([0.0, np.nan, 1.0]), 0.0, 1.0, DEPTH)
    assert len({tuple(color) for color in colors.tolist()}) == 3
    assert np.ptp(colors[1].astype(int)) < 8


def test_a_scale_has_the_colours_of_its_picture():
    first = coloured(np.zeros(1), 0.0, 1.0, DEPTH)[0]
    assert f'rgb({first[0]},{first[1]},{first[2]})' in css_gradient(DEPTH)


def test_the_ends_of_a_scale_move_slowly():
    steady = SteadyRange(0.0, 1.0)
    assert steady.follow(np.array([0.0, 10.0])) == (0.0, 10.0)
    low, high = steady.follow(np.array([100.0, 110.0, np.nan]))
    assert 0 < low < 50
    assert 10 < high < 60
    assert steady.follow(np.array([np.nan])) == (low, high)


@pytest.mark.parametrize('shape', [(48, 64), (480, 640), (1080, 1920), (3, 5)])
def test_pictures_are_as_wide_as_the_page_whatever_the_cameras_have(shape):
    image = np.zeros((*shape, 3), np.uint8)
    both = match_picture(ImagePart(1, image, image), None)
    assert both.shape[1] == match_picture(ImagePart(1, image), None).shape[1] == WIDTH
    cloud = cloud_of(*shape)
    assert depth_and_confidence(cloud, (1, 5), (1, 2)).shape[1] == WIDTH


def test_matches_are_drawn_where_they_are_in_images_of_another_size():
    image = np.zeros((480, 640, 3), np.uint8)
    uv = np.array([[320.0, 240.0]], np.float32)
    matches = MatchPart(1, 1, (640, 480), (640, 480), uv, uv, np.ones(1, np.float32))
    picture = match_picture(ImagePart(1, image, image), matches)
    left = picture[:, : WIDTH // 2 - 4].any(axis=-1)
    rows, columns = np.nonzero(left)
    assert rows.mean() == pytest.approx(picture.shape[0] / 2, abs=3)
    assert columns.min() == pytest.approx(WIDTH / 4, abs=6)


def test_a_cell_of_the_map_is_shown_once_it_was_seen_twice():
    grown = GrowingMap(size_bits=12)
    points = np.array([[0.05, 0.05, 0.05], [5.0, 0.0, 0.0]], np.float32)
    colors = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    grown.add(points, colors, 0.1)
    assert len(grown) == 0
    grown.add(points[:1], colors[:1], 0.1)
    shown, shown_colors = grown.shown(100)
    np.testing.assert_array_equal(shown, points[:1])
    np.testing.assert_array_equal(shown_colors, colors[:1])


def test_the_map_never_grows_beyond_its_table_nor_its_budget():
    grown = GrowingMap(size_bits=10)
    rng = np.random.default_rng(0)
    for _ in range(5):
        points = rng.uniform(-50, 50, (4000, 3)).astype(np.float32)
        for _ in range(2):
            grown.add(points, np.zeros((4000, 3), np.uint8), 0.1)
    assert len(grown) <= 1024
    assert len(grown.shown(100)[0]) <= 100
    grown.clear()
    assert len(grown) == 0


def pose(stamp_ns, x, turn=0.0):
    T = np.eye(4)
    T[:3, :3] = rotation_of(np.array([0.0, 0.0, math.sin(turn / 2), math.cos(turn / 2)]))
    T[0, 3] = x
    return PosePart(stamp_ns, T)


def test_a_pose_between_two_stamps_is_between_their_poses():
    trail = PoseTrail()
    trail.add(pose(0, 0.0))
    trail.add(pose(100_000_000, 1.0, turn=0.2))
    T = trail.at(50_000_000)
    assert T[0, 3] == pytest.approx(0.5)
    assert math.atan2(T[1, 0], T[0, 0]) == pytest.approx(0.1, abs=1e-6)


def test_a_time_without_a_pose_near_it_has_none():
    trail = PoseTrail()
    assert trail.at(5) is None
    trail.add(pose(0, 0.0))
    trail.add(pose(10_000_000_000, 1.0))
    assert trail.at(5_000_000_000) is None
    assert trail.at(20_000_000_000) is None


def test_poses_begin_anew_when_time_does():
    trail = PoseTrail()
    for stamp_ns in (10, 20, 5):
        trail.add(pose(stamp_ns, 0.0))
    assert len(trail.path()) == 1


def test_a_level_camera_looks_along_x_with_z_up():
    assert heading_of(LEVEL) == pytest.approx(0.0)
    np.testing.assert_allclose(LEVEL[:3, 1], [0, 0, -1])  # down in the image is down in the world
    assert np.linalg.det(LEVEL) == pytest.approx(1.0)


def stats(age_ms=50.0, **drops):
    return StatsPart(0, 'geometric', 'cpu', age_ms, {'wait': 5.0, 'decode': 30.0}, drops)


def test_the_plots_count_by_the_second():
    history = History()
    for step in range(50):
        history.add(stats(superseded=step // 5), 100.0 + step / 10)
    history.advance(105.5)
    seconds, answered, dropped, age_ms, engine_ms = history.plotted()
    assert seconds.tolist() == [-5, -4, -3, -2, -1]
    assert answered.tolist() == [10] * 5
    assert dropped.sum() == 9
    assert set(age_ms) == {50.0}
    assert set(engine_ms) == {30.0}
    assert history.rate_hz() == pytest.approx(10.0)


def test_a_second_without_results_has_no_age():
    history = History()
    history.add(stats(), 10.0)
    history.advance(12.5)
    assert history.plotted()[1].tolist() == [1, 0]
    assert math.isnan(history.plotted()[3][1])
    assert history.rate_hz() == 0.0


def test_a_node_that_started_anew_does_not_take_drops_back():
    history = History()
    for at_s, drops in ((1.0, 100), (1.1, 2), (1.2, 3)):
        history.add(stats(superseded=drops), at_s)
    history.advance(2.0)
    assert history.plotted()[2].tolist() == [1]


def test_history_is_bounded_also_after_a_long_silence():
    history = History()
    for second in range(SECONDS * 2):
        history.add(stats(), float(second))
    assert len(history.plotted()[0]) == SECONDS
    history.add(stats(), 1e6)
    assert len(history.plotted()[0]) == 0


@pytest.mark.parametrize(
    ('most', 'top'), [(0.0, 1.0), (0.3, 0.5), (1.0, 1.0), (7, 10), (130, 200)]
)
def test_a_plot_ends_at_a_round_number_above_everything(most, top):
    assert top_of([np.array([0.0, math.nan]), np.array([most, 0.0])]) == pytest.approx(top)


def test_images_are_found_by_both_stamps_and_decoded_once_asked_for():
    store = ImageStore()
    images = {name: np.full((2, 2, 3), n, np.uint8) for n, name in enumerate('abc')}
    store.add('left', 10, 12, lambda: images['a'])
    store.add('right', 11, 12, lambda: images['b'])
    found = store.find(10, 11)
    assert found.image_1 is images['a']
    assert found.image_2 is images['b']
    assert store.find(10, None).image_2 is None
    assert store.find(99, None) is None


def test_a_sequence_finds_both_images_in_its_one_camera():
    store = ImageStore()
    for stamp_ns in (1, 2):
        store.add(
            'image', stamp_ns, 12, lambda value=stamp_ns: np.full((2, 2, 3), value, np.uint8)
        )
    found = store.find(2, 1)
    assert (found.image_1[0, 0, 0], found.image_2[0, 0, 0]) == (2, 1)


def test_images_kept_stay_within_their_bytes():
    store = ImageStore(most_bytes=100)
    for stamp_ns in range(50):
        store.add('left', stamp_ns, 30, lambda: np.zeros((2, 2, 3), np.uint8))
    assert len(store) == 3
    assert store.find(49, None) is not None
    assert store.find(10, None) is None


@pytest.mark.parametrize(
    ('source', 'depth', 'expected'),
    [('model', 80.0, 30.0), ('none', 80.0, 240.0), ('none', np.nan, 30.0), ('', 80.0, 30.0)],
)
def test_without_a_unit_the_farthest_is_told_by_the_cloud(source, depth, expected):
    page = SimpleNamespace(controls=SimpleNamespace(settings=Settings(farthest=30.0)))
    drawing = Drawing(page, lambda first, second: None)
    drawing.scale_source = source
    assert drawing._farthest(cloud_of(depth=depth)) == expected
