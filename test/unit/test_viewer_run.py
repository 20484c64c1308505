# SPDX-License-Identifier: Apache-2.0
"""A run folder is played into a view: each frame where its camera was, and the map."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from scene import Scene, walk

pytest.importorskip('scipy')

from mast3r_ros.cli import reconstruct, view
from mast3r_ros.core.ply import read_ply, write_ply
from mast3r_ros.errors import InvalidInput
from mast3r_ros.viewer.flow import Flow
from mast3r_ros.viewer.image_store import ImageStore
from mast3r_ros.viewer.run_playback import RunPlayback

FRAMES = 5


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Return the run folder of a short walk."""
    pictures, folder = tmp_path_factory.mktemp('walk'), tmp_path_factory.mktemp('runs') / 'run'
    shots = walk(Scene(), FRAMES, 0.06)
    for number, shot in enumerate(shots):
        Image.fromarray(shot.image).save(pictures / f'{number}.png')
    (pictures / 'eye.yaml').write_text(calibration(shots[0].camera))
    words = [str(pictures), '--backend', 'geometric', '--rate', '100', '--output', str(folder)]
    assert reconstruct.main([*words, '--calibration', str(pictures / 'eye.yaml')]) == 0
    return folder


def calibration(camera):
    """Return a pinhole camera as the file that ROS writes."""

    def matrix(rows, values):
        return {'rows': rows, 'cols': len(values) // rows, 'data': values}

    P = np.hstack([camera.K, np.zeros((3, 1))])
    return yaml.safe_dump(
        {
            'image_width': camera.width,
            'image_height': camera.height,
            'camera_name': 'eye',
            'camera_matrix': matrix(3, camera.K.ravel().tolist()),
            'distortion_model': 'plumb_bob',
            'distortion_coefficients': matrix(1, [0.0] * 5),
            'rectification_matrix': matrix(3, np.eye(3).ravel().tolist()),
            'projection_matrix': matrix(3, P.ravel().tolist()),
        }
    )


class Audience:
    """Takes what a view would be offered, and makes every part at once."""

    def __init__(self):
        self.flow = Flow()
        self.clouds, self.stats, self.poses, self.maps, self.said = [], [], [], [], []

    def offer_cloud(self, make):
        self.clouds.append(make())

    def offer_map(self, make):
        self.maps.append(make())

    def add_stats(self, stats):
        self.stats.append(stats)

    def add_pose(self, pose):
        self.poses.append(pose)

    def say(self, sentences):
        self.said += [sentence.text for sentence in sentences]


def play(folder):
    audience, store = Audience(), ImageStore()
    assert RunPlayback(folder, speed=100.0).play(audience, store) == FRAMES
    return audience, store


def test_every_frame_is_shown_where_its_camera_was(run):
    audience, store = play(run)
    assert len(audience.stats) == len(audience.poses) == FRAMES
    assert audience.stats[0].engine == 'geometric'
    np.testing.assert_allclose(audience.poses[0].T_world_camera[:3, 2], (1.0, 0.0, 0.0))
    for part in audience.clouds:
        assert store.find(part.stamp_ns, None) is not None
        assert part.points.shape[:2] == part.colors.shape[:2] == part.confidence.shape
    assert audience.clouds


def test_points_lie_where_the_depth_says(run):
    audience, _ = play(run)
    number = next(n for n in range(FRAMES) if (run / 'depth' / f'{n:06d}.npy').is_file())
    depth = np.load(run / 'depth' / f'{number:06d}.npy')
    np.testing.assert_array_equal(audience.clouds[0].depth, depth)


def test_the_map_stands_in_the_world_with_z_up(run):
    audience, _ = play(run)
    (world,) = audience.maps
    points, _, _ = read_ply(run / 'map.ply')
    assert len(points) > 100
    np.testing.assert_array_equal(world.points[0][:, 0], points[:, 2])
    np.testing.assert_array_equal(world.points[0][:, 2], -points[:, 1])


def test_what_each_frame_was_is_said(run):
    audience, _ = play(run)
    assert audience.said[0] == 'frame 0: started'


def test_a_run_that_was_not_finished_is_said_to_be_so(run, tmp_path, capsys):
    shutil.copytree(run, tmp_path / 'run')
    (tmp_path / 'run' / 'run.json').unlink()
    assert view.main([str(tmp_path / 'run'), '--once']) == 1
    assert 'holds no finished run' in capsys.readouterr().err


def test_options_of_bags_are_refused_for_a_run(run, capsys):
    assert view.main([str(run), '--pose', '/pose', '--once']) == 1
    assert '--pose is for bags' in capsys.readouterr().err


@pytest.mark.parametrize('part', ['depth', 'rgb'])
def test_a_damaged_file_costs_its_own_frame_alone(run, tmp_path, part):
    shutil.copytree(run, tmp_path / 'run')
    for file in (tmp_path / 'run' / part).iterdir():
        file.write_bytes(b'damaged')
    playback = RunPlayback(tmp_path / 'run')
    number = next(iter(playback._cameras))
    with pytest.raises(InvalidInput, match=part):
        playback._cloud(playback._frames[number])


def test_the_page_shows_a_run(run, capsys):
    pytest.importorskip('viser', reason='needs viser')
    assert view.main([str(run), '--rate', '100', '--once', '--port', '18740']) == 0
    assert f'{FRAMES} frames shown' in capsys.readouterr().out


def test_a_ply_file_is_read_back_as_it_was_written(tmp_path):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(50, 3)).astype(np.float32)
    colors = rng.integers(0, 256, (50, 3), np.uint8)
    confidence = rng.random(50).astype(np.float32)
    write_ply(tmp_path / 'map.ply', points, colors, confidence)
    for found, expected in zip(
        read_ply(tmp_path / 'map.ply'), (points, colors, confidence), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize('damage', [lambda data: data[:-1], lambda data: b'ply\n', lambda _: b''])
def test_a_ply_file_that_is_not_whole_is_refused(tmp_path, damage):
    path = tmp_path / 'map.ply'
    write_ply(path, np.zeros((3, 3), np.float32), np.zeros((3, 3), np.uint8), np.ones(3))
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InvalidInput, match='no whole PLY'):
        read_ply(path)
