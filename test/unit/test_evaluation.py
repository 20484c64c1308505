# SPDX-License-Identifier: Apache-2.0
"""Trajectory files, alignment and errors against answers that are known by construction."""

from __future__ import annotations

import itertools
import json

import cv2
import numpy as np
import pytest

from mast3r_ros.cli.evaluate import main
from mast3r_ros.core.images import load_image
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence import accuracy_picture
from mast3r_ros.sequence.accuracy import angles_deg, associate, evaluate
from mast3r_ros.sequence.accuracy_picture import draw_errors, draw_paths
from mast3r_ros.sequence.alignment import Similarity, fit_similarity
from mast3r_ros.sequence.trajectory import Trajectory, read_tum, write_tum


def turn(*angles_deg: float) -> np.ndarray:
    return cv2.Rodrigues(np.radians(angles_deg))[0]


def pose(R: np.ndarray, t) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R, t
    return T


def flight(count: int = 60) -> Trajectory:
    """Return a way that bends and turns in all directions."""
    phases = np.linspace(0.0, 5.0, count)
    poses = [
        pose(
            turn(20.0 * np.sin(p), 40.0 * p, 10.0 * p),
            [2 * np.sin(p), 0.7 * p, np.cos(2 * p)],
        )
        for p in phases
    ]
    return Trajectory.of(range(10**18, 10**18 + count * 10**8, 10**8), poses)


def moved(trajectory: Trajectory, by: Similarity) -> Trajectory:
    return Trajectory(trajectory.stamps_ns, by.poses(trajectory.T_world_camera))


def test_a_trajectory_survives_the_file_to_the_nanosecond(tmp_path):
    original = flight()
    write_tum(tmp_path / 'way.txt', original)
    read = read_tum(tmp_path / 'way.txt')
    np.testing.assert_array_equal(read.stamps_ns, original.stamps_ns)
    np.testing.assert_allclose(read.T_world_camera, original.T_world_camera, atol=1e-8)


def test_the_file_has_the_real_part_of_the_quaternion_last(tmp_path):
    quarter_about_z = pose(turn(0.0, 0.0, 90.0), [1.0, 2.0, 3.0])
    write_tum(tmp_path / 'way.txt', Trajectory.of([1_500_000_000], [quarter_about_z]))
    words = (tmp_path / 'way.txt').read_text().split()
    half = np.sqrt(0.5)
    np.testing.assert_allclose([float(w) for w in words], [1.5, 1, 2, 3, 0, 0, half, half])


def test_a_file_with_the_real_part_first_is_read_when_that_is_said(tmp_path):
    (tmp_path / 'way.txt').write_text('0.0 1 2 3 0.7071068 0 0 0.7071068\n')
    read = read_tum(tmp_path / 'way.txt', quaternion_first=True)
    np.testing.assert_allclose(read.rotations[0], turn(0.0, 0.0, 90.0), atol=1e-6)


def test_a_wrong_order_of_the_quaternion_shows_in_the_rotation_errors_alone(tmp_path):
    write_tum(tmp_path / 'way.txt', flight())
    swapped = read_tum(tmp_path / 'way.txt', quaternion_first=True)
    result = evaluate(swapped, flight(), with_scale=False)
    assert result.ate_m.max() < 1e-7
    assert result.ate_deg.mean() > 20.0


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('', 'no pose'),
        ('0 1 2 3 0 0 0\n', '7 numbers'),
        ('# fine\n0 1 2 3 0 0 0 x\n', 'line 2'),
        ('0 1 2 3 0 0 0 0\n', 'length 0'),
        ('0 nan 2 3 0 0 0 1\n', 'no pose'),
        ('nan 1 2 3 0 0 0 1\n', 'no number'),
        ('0 1 2 3 0 0 0 1\n0 1 2 3 0 0 0 1\n', 'twice'),
    ],
)
def test_a_broken_file_is_refused_with_the_reason(tmp_path, text, said):
    (tmp_path / 'way.txt').write_text(text)
    with pytest.raises(InvalidInput, match=said):
        read_tum(tmp_path / 'way.txt')


def test_the_same_way_has_no_error():
    for with_scale in (False, True):
        for name, values in evaluate(flight(), flight(), with_scale=with_scale).summary().items():
            assert values.max < 1e-9, name


def test_a_moved_and_turned_world_makes_no_error():
    by = Similarity(turn(30.0, -70.0, 120.0), np.array([5.0, -2.0, 9.0]))
    result = evaluate(moved(flight(), by), flight(), with_scale=False)
    assert result.summary()['ate_m'].max < 1e-9
    assert result.summary()['ate_deg'].max < 1e-9


def test_a_scale_is_found_with_sim3_and_counts_as_error_with_se3():
    by = Similarity(turn(30.0, -70.0, 120.0), np.array([5.0, -2.0, 9.0]), 0.8)
    small = moved(flight(), by)
    sim3 = evaluate(small, flight(), with_scale=True)
    assert sim3.alignment.scale == pytest.approx(1.25)
    assert sim3.summary()['ate_m'].max < 1e-9
    assert sim3.summary()['rpe_m'].max < 1e-9
    around = flight().positions - flight().positions.mean(axis=0)
    expected = 0.2 * np.sqrt((around**2).sum(axis=1).mean())
    se3 = evaluate(small, flight(), with_scale=False)
    assert se3.summary()['ate_m'].rmse == pytest.approx(expected)


def test_ate_is_the_distance_of_the_positions():
    true = flight(400)
    noise = np.random.default_rng(0).normal(0.0, 0.01, (400, 3))
    poses = true.T_world_camera.copy()
    poses[:, :3, 3] += noise
    result = evaluate(Trajectory(true.stamps_ns, poses), true, with_scale=False)
    assert result.summary()['ate_m'].rmse == pytest.approx(0.01 * np.sqrt(3), rel=0.05)


def test_rpe_is_the_error_of_the_motion_and_of_the_turn():
    true = flight()
    slip = pose(turn(0.0, 1.5, 0.0), [0.0, 0.02, 0.0])
    poses = [true.T_world_camera[0]]
    for first, second in zip(true.T_world_camera, true.T_world_camera[1:], strict=False):
        poses.append(poses[-1] @ np.linalg.inv(first) @ second @ slip)
    result = evaluate(Trajectory.of(true.stamps_ns, poses), true, with_scale=False)
    np.testing.assert_allclose(result.rpe_m, 0.02, atol=1e-9)
    np.testing.assert_allclose(result.rpe_deg, 1.5, atol=1e-9)


def test_rpe_over_many_poses_adds_up():
    straight = [pose(np.eye(3), [0.1 * n, 0.0, 0.01 * n * n]) for n in range(30)]
    longer = [pose(np.eye(3), [0.11 * n, 0.0, 0.01 * n * n]) for n in range(30)]
    stamps = [n * 10**8 for n in range(30)]
    result = evaluate(
        Trajectory.of(stamps, longer), Trajectory.of(stamps, straight), with_scale=False, delta=10
    )
    np.testing.assert_allclose(result.rpe_m, 0.1, atol=1e-9)
    assert len(result.rpe_m) == 20


def test_tiny_angles_are_not_lost():
    R = np.stack([turn(0.0, 1e-6, 0.0), turn(179.999, 0.0, 0.0)])
    np.testing.assert_allclose(angles_deg(R), [1e-6, 179.999], rtol=1e-6)


def test_a_mirrored_way_is_not_taken_for_a_rotation():
    mirrored = flight().positions * [1.0, 1.0, -1.0]
    R = fit_similarity(mirrored, flight().positions, with_scale=False).R
    assert np.linalg.det(R) == pytest.approx(1.0)


def test_partners_are_the_nearest_stamps_within_the_tolerance():
    def at(*stamps_ms):
        return Trajectory.of([ms * 10**6 for ms in stamps_ms], [np.eye(4)] * len(stamps_ms))

    rows, partners = associate(at(0, 9, 40, 100), at(1, 11, 60, 90), 0.015)
    assert rows.tolist() == [0, 1, 3]
    assert partners.tolist() == [0, 1, 3]
    rows, partners = associate(at(0, 1), at(0, 500), 0.1)
    assert rows.tolist() == [0]  # a true pose is nobody's partner twice


def test_too_few_partners_are_an_error_that_says_how_many():
    late = Trajectory(flight().stamps_ns + 10**12, flight().T_world_camera)
    with pytest.raises(InvalidInput, match='only 0 of 60'):
        evaluate(late, flight(), with_scale=True)
    assert len(evaluate(late, flight(), with_scale=True, offset_s=-1e3).truth) == 60


def test_a_camera_that_stands_still_tells_no_scale():
    still = Trajectory(flight().stamps_ns, np.tile(np.eye(4), (60, 1, 1)))
    with pytest.raises(InvalidInput, match='stands still'):
        evaluate(still, flight(), with_scale=True)


def test_the_pictures_show_both_ways_and_the_errors():
    result = evaluate(flight(), flight(), with_scale=True)
    for picture in (draw_paths(result), draw_errors(result)):
        colors = {tuple(color) for color in picture.reshape(-1, 3)[::3]}
        assert (214, 72, 30) in colors
        assert (255, 255, 255) in colors


@pytest.mark.parametrize('size_m', [3e-5, 0.3, 1.0, 7.3])
def test_the_axes_of_the_errors_count_in_round_steps(monkeypatch, size_m):
    said = []
    monkeypatch.setattr(accuracy_picture, '_write', lambda _, text, *__: said.append(text))
    off = flight()
    off.T_world_camera[::2, 0, 3] += size_m
    accuracy_picture.draw_errors(evaluate(off, flight(), with_scale=False))
    first_steps = [after for text, after in itertools.pairwise(said) if text == '0']
    assert len(first_steps) == 8  # two axes of four diagrams
    assert {f'{float(step):e}'[0] for step in first_steps} <= set('125')


def test_the_command_reports_what_the_library_finds(tmp_path, capsys):
    by = Similarity(turn(30.0, -70.0, 120.0), np.array([5.0, -2.0, 9.0]), 0.5)
    write_tum(tmp_path / 'estimate.txt', moved(flight(), by))
    write_tum(tmp_path / 'truth.txt', flight())
    files = [str(tmp_path / 'estimate.txt'), str(tmp_path / 'truth.txt')]
    assert main([*files, '--json', '--pictures', str(tmp_path / 'plots')]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['compared'] == 60
    assert report['sim3']['scale'] == pytest.approx(2.0, abs=1e-6)
    assert report['sim3']['ate_m']['rmse'] < 1e-6
    assert report['se3']['ate_m']['rmse'] > 0.1
    assert {path.name for path in (tmp_path / 'plots').iterdir()} == {
        'path_se3.png',
        'path_sim3.png',
        'error_se3.png',
        'error_sim3.png',
    }
    assert load_image(tmp_path / 'plots' / 'path_sim3.png').shape[2] == 3
    assert main(files) == 0
    assert 'ATE, rotation (deg)' in capsys.readouterr().out


def test_the_command_says_in_one_line_what_is_wrong(tmp_path, capsys):
    assert main([str(tmp_path / 'none.txt'), str(tmp_path / 'none.txt')]) == 1
    assert 'cannot read the trajectory' in capsys.readouterr().err
    write_tum(tmp_path / 'truth.txt', flight())
    assert main([str(tmp_path / 'truth.txt')] * 2 + ['--delta', '0']) == 1
    assert '--delta is 0' in capsys.readouterr().err
