# SPDX-License-Identifier: Apache-2.0
"""A recorded camera, or stereo pair, that moves: from the bag to the run folder."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip('rosbags', reason='needs rosbags')
pytest.importorskip('scipy')

from scene import Scene, placed, small_camera
from support.bag_files import BagPlan, image_fields, stamp_of

from mast3r_ros.cli.reconstruct import main
from mast3r_ros.cli.replay import main as replay
from mast3r_ros.core.cameras import Camera
from mast3r_ros.sequence.trajectory import read_tum
from mast3r_ros.wire.camera_info import camera_info_fields
from mast3r_ros.wire.stamps import header_fields

PAIRS, STEP_M, BASELINE_M = 6, 0.08, 0.3


def plan(*, calibrated: bool = True) -> BagPlan:
    """Return a stereo pair that goes to the right, 8 cm from exposure to exposure."""
    scene, bag = Scene(), BagPlan()
    for number in range(PAIRS):
        for side, baseline_m in (('left', 0.0), ('right', BASELINE_M)):
            camera: Camera = small_camera(baseline_m=baseline_m)
            shot = scene.look(camera, placed(STEP_M * number + baseline_m))
            stamp_ns = stamp_of(number)
            bag.add(f'/cam/{side}/image_rect', stamp_ns, image_fields(shot.image, stamp_ns, side))
            if calibrated:
                info = camera_info_fields(header_fields(stamp_ns, side), camera)
                bag.add(f'/cam/{side}/camera_info', stamp_ns, info)
    return bag


@pytest.fixture(scope='module')
def bag(tmp_path_factory):
    return plan().write(tmp_path_factory.mktemp('bags') / 'flight')


def command(bag, run, *more: str) -> list[str]:
    return [str(bag), '--backend', 'geometric', '--output', str(run), '--keep', 'depth', *more]


def test_a_stereo_bag_gives_a_way_in_metres_with_the_stamps_of_the_bag(bag, tmp_path):
    assert main(command(bag, tmp_path / 'run')) == 0
    found = read_tum(tmp_path / 'run' / 'trajectory.txt')
    assert found.stamps_ns.tolist() == [stamp_of(number) for number in range(PAIRS)]
    np.testing.assert_allclose(found.positions[:, 0], STEP_M * np.arange(PAIRS), atol=0.02)
    np.testing.assert_allclose(found.positions[:, 1:], 0.0, atol=0.02)
    report = json.loads((tmp_path / 'run' / 'run.json').read_text())
    assert report['unit'] == 'metre'
    assert report['scale_source'] == 'stereo_baseline'
    assert np.nanmedian(np.load(tmp_path / 'run' / 'depth' / '000003.npy')) == pytest.approx(
        3.0, rel=0.1
    )


def test_the_last_exposure_is_a_frame_too(tmp_path):
    """Its cameras are 2 ms apart, and nothing nearer comes any more."""
    scene, one = Scene(), BagPlan()
    for side, baseline_m, late_ns in (('left', 0.0, 0), ('right', BASELINE_M, 2_000_000)):
        camera = small_camera(baseline_m=baseline_m)
        stamp_ns = stamp_of(0) + late_ns
        image = scene.look(camera, placed(baseline_m)).image
        one.add(f'/cam/{side}/image_rect', stamp_ns, image_fields(image, stamp_ns, side))
        info = camera_info_fields(header_fields(stamp_ns, side), camera)
        one.add(f'/cam/{side}/camera_info', stamp_ns, info)
    assert main(command(one.write(tmp_path / 'one'), tmp_path / 'run')) == 0
    report = json.loads((tmp_path / 'run' / 'run.json').read_text())
    assert report['frames'] == 1


def test_a_bag_says_how_far_its_run_is(bag, tmp_path, capsys):
    assert main(command(bag, tmp_path / 'run')) == 0
    assert f'100% {PAIRS} frames' in capsys.readouterr().err


def test_one_camera_of_a_bag_is_followed_alone(bag, tmp_path):
    options = ('--mode', 'sequence', '--image', '/cam/left/image_rect')
    assert main(command(bag, tmp_path / 'run', *options)) == 0
    report = json.loads((tmp_path / 'run' / 'run.json').read_text())
    assert report['frames'] == PAIRS
    assert report['unit'] == 'unknown'


def test_replay_writes_a_run_folder_of_a_part_of_the_bag(bag, tmp_path, capsys):
    words = [str(bag), '--backend', 'geometric', '--run-dir', str(tmp_path / 'run'), '--json']
    assert replay([*words, '--start', '0.1', '--frames', '3']) == 0
    found = read_tum(tmp_path / 'run' / 'trajectory.txt')
    assert found.stamps_ns.tolist() == [stamp_of(number) for number in (2, 3, 4)]
    assert json.loads(capsys.readouterr().out)['frames'] == 3
    assert replay([*words, '--output', 'bag']) == 1
    assert 'writes no bag' in capsys.readouterr().err


def test_stride_and_size_hold_for_bags_too(bag, tmp_path):
    assert main(command(bag, tmp_path / 'run', '--stride', '2', '--size', '128')) == 0
    found = read_tum(tmp_path / 'run' / 'trajectory.txt')
    assert found.stamps_ns.tolist() == [stamp_of(number) for number in (0, 2, 4)]
    np.testing.assert_allclose(found.positions[:, 0], STEP_M * np.array([0, 2, 4]), atol=0.03)
    assert np.load(tmp_path / 'run' / 'depth' / '000001.npy').shape == (96, 128)


def test_a_stereo_bag_without_calibration_is_refused_with_the_way_out(tmp_path, capsys):
    bare = plan(calibrated=False).write(tmp_path / 'bare')
    assert main(command(bare, tmp_path / 'run')) == 1
    assert '--mode sequence' in capsys.readouterr().err
    assert not (tmp_path / 'run').exists()


def test_a_calibration_file_beside_a_bag_is_refused(bag, tmp_path, capsys):
    assert main(command(bag, tmp_path / 'run', '--calibration', 'eye.yaml')) == 1
    assert 'camera_info' in capsys.readouterr().err
