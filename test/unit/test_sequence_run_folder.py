# SPDX-License-Identifier: Apache-2.0
"""The run folder and the command that fills it, read back as other programs would."""

from __future__ import annotations

import csv
import itertools
import json
import shutil
import struct

import cv2
import numpy as np
import pytest
from PIL import Image
from scene import Scene, placed, small_camera, walk

pytest.importorskip('scipy')

from mast3r_ros.cli.reconstruct import main
from mast3r_ros.core.cameras import Camera
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.glb import write_glb
from mast3r_ros.sequence.picture_sources import ImageFiles
from mast3r_ros.sequence.run_folder import PER_FRAME, RunFolder, depth_picture
from mast3r_ros.sequence.trajectory import read_tum

CALIBRATION = """\
image_width: 160
image_height: 120
camera_name: eye
camera_matrix: {rows: 3, cols: 3, data: [128.0, 0, 78.7, 0, 128.0, 60.7, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
rectification_matrix: {rows: 3, cols: 3, data: [1, 0, 0, 0, 1, 0, 0, 0, 1]}
projection_matrix: {rows: 3, cols: 4, data: [128.0, 0, 78.7, 0, 0, 128.0, 60.7, 0, 0, 0, 1, 0]}
"""


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """Return a folder with pictures of a walk and their calibration."""
    folder = tmp_path_factory.mktemp('walk')
    for number, shot in enumerate(walk(Scene(), 8, 0.06)):
        Image.fromarray(shot.image).save(folder / f'{number}.png')
    (folder / 'eye.yaml').write_text(CALIBRATION)
    return folder


@pytest.fixture(scope='module')
def run(pictures, tmp_path_factory):
    """Return the run folder of that walk."""
    folder = tmp_path_factory.mktemp('runs') / 'run'
    assert main(command(pictures, folder)) == 0
    return folder


def command(pictures, folder, *more: str) -> list[str]:
    words = [str(pictures), '--backend', 'geometric', '--calibration', str(pictures / 'eye.yaml')]
    return [*words, '--rate', '10', '--output', str(folder), *more]


def read_glb(path) -> tuple[dict, bytes]:
    data = path.read_bytes()
    magic, version, length = struct.unpack_from('<4sII', data)
    assert (magic, version, length) == (b'glTF', 2, len(data))
    text_length, kind = struct.unpack_from('<II', data, 12)
    assert kind == 0x4E4F534A
    document = json.loads(data[20 : 20 + text_length])
    rest = data[20 + text_length :]
    return document, rest[8:]


def vertices(document: dict, binary: bytes, mesh: int) -> np.ndarray:
    accessor = document['accessors'][
        document['meshes'][mesh]['primitives'][0]['attributes']['POSITION']
    ]
    view = document['bufferViews'][accessor['bufferView']]
    data = binary[view['byteOffset'] : view['byteOffset'] + view['byteLength']]
    return np.frombuffer(data, np.float32).reshape(accessor['count'], 3)


def test_every_frame_has_its_pose_its_line_and_its_files(run):
    rows = list(csv.DictReader((run / 'frames.csv').open()))
    assert [int(row['number']) for row in rows] == list(range(8))
    assert rows[0]['state'] == 'started'
    trajectory = read_tum(run / 'trajectory.txt')
    assert trajectory.stamps_ns.tolist() == [int(row['stamp_ns']) for row in rows]
    for number in range(3, 8):
        depth = np.load(run / 'depth' / f'{number:06d}.npy')
        assert depth.dtype == np.float32
        assert depth.shape == (120, 160)
        for part, ending in (('depth_color', 'png'), ('confidence', 'npy'), ('rgb', 'png')):
            assert (run / part / f'{number:06d}.{ending}').is_file()
    assert read_tum(run / 'keyframes.txt').stamps_ns[0] == 0


def test_the_pictures_are_the_ones_that_came(run, pictures):
    for number in (0, 7):
        came = cv2.imread(str(pictures / f'{number}.png'))
        np.testing.assert_array_equal(cv2.imread(str(run / 'rgb' / f'{number:06d}.png')), came)


def test_the_intrinsics_are_those_of_the_depth(run):
    lines = [line.split() for line in (run / 'intrinsics.txt').read_text().splitlines()]
    assert [float(word) for word in lines[0][1:]] == [160, 120, 128.0, 128.0, 78.7, 60.7]


def test_the_report_names_settings_versions_and_figures(run):
    report = json.loads((run / 'run.json').read_text())
    assert report['frames'] == 8
    assert report['engine'] == 'geometric'
    assert report['unit'] == 'unknown'
    assert report['settings']['runtime']['backend'] == 'geometric'
    assert {'mast3r_ros', 'numpy', 'opencv'} <= report['versions'].keys()
    assert report['states']['tracked'] == 7


def test_the_scene_holds_the_map_and_the_cameras(run):
    document, binary = read_glb(run / 'scene.glb')
    report = json.loads((run / 'run.json').read_text())
    assert len(document['meshes']) == 2
    assert len(vertices(document, binary, 0)) == report['map_points'] > 100
    assert len(vertices(document, binary, 1)) == 16 * report['keyframes']
    header = (run / 'map.ply').read_bytes()[:200].decode('ascii', 'replace')
    assert f'element vertex {report["map_points"]}' in header


def test_the_geometric_engine_follows_the_walk_from_pictures_alone(run):
    """Held against the truth: the camera goes straight, at a steady pace."""
    positions = read_tum(run / 'trajectory.txt').positions
    moved = positions[np.linalg.norm(positions, axis=1) > 0.0]  # it needs some parallax first
    assert len(moved) >= 5
    steps = np.linalg.norm(np.diff(moved, axis=0), axis=1)
    assert steps.std() < 0.15 * steps.mean()


def test_an_older_run_is_replaced_only_when_asked(run, pictures, tmp_path, capsys):
    folder = tmp_path / 'run'
    few = ('--frames', '2', '--keep', 'rgb')
    assert main(command(pictures, folder, *few)) == 0
    assert main(command(pictures, folder, *few)) == 1
    assert '--force' in capsys.readouterr().err
    assert main(command(pictures, folder, *few, '--force', '--json')) == 0
    assert json.loads(capsys.readouterr().out)['frames'] == 2
    assert not (folder / 'depth').exists()


def test_a_folder_with_other_things_is_never_emptied(tmp_path):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(InvalidInput, match='holds other things'):
        RunFolder(tmp_path, replace=True)
    assert (tmp_path / 'thesis.tex').exists()


@pytest.mark.parametrize('stranger', ['notes.txt', 'rgb/holiday.png', 'depth/000000.txt'])
def test_what_somebody_laid_beside_a_run_is_never_removed(tmp_path, stranger):
    RunFolder(tmp_path / 'run').close()
    (tmp_path / 'run' / stranger).write_text('mine')
    with pytest.raises(InvalidInput, match=stranger):
        RunFolder(tmp_path / 'run', replace=True)
    assert (tmp_path / 'run' / stranger).read_text() == 'mine'


@pytest.mark.parametrize('keyframes_max', [200, 2])
def test_an_interrupted_run_goes_on_where_it_was(pictures, tmp_path, monkeypatch, keyframes_max):
    sequence = f'{{sequence: {{keyframe_disparity: 0.03, keyframes_max: {keyframes_max}}}}}'
    (tmp_path / 'settings.yaml').write_text(sequence)
    extra = ('--config', str(tmp_path / 'settings.yaml'))
    whole, parted = tmp_path / 'whole', tmp_path / 'parted'
    assert main(command(pictures, whole, *extra)) == 0
    with monkeypatch.context() as patch:
        patch.setattr(ImageFiles, 'frames', interrupted(ImageFiles.frames, after=5))
        assert main(command(pictures, parted, *extra)) == 130
    assert len(read_tum(parted / 'trajectory.txt')) == 5
    assert main(command(pictures, parted, *extra, '--resume')) == 0
    one, other = read_tum(whole / 'trajectory.txt'), read_tum(parted / 'trajectory.txt')
    np.testing.assert_array_equal(one.stamps_ns, other.stamps_ns)
    np.testing.assert_allclose(one.positions, other.positions, atol=0.02 * one.length)
    lines = [list(csv.reader((run / 'frames.csv').open())) for run in (whole, parted)]
    assert [line[:2] for line in lines[0]] == [line[:2] for line in lines[1]]
    assert len(list((parted / 'rgb').iterdir())) == 8
    assert not (parted / 'resume').exists()


def interrupted(frames, after: int):
    """Return a source's frames that end with Ctrl-C."""

    def few(source):
        yield from itertools.islice(frames(source), after)
        raise KeyboardInterrupt

    return few


def test_a_run_goes_on_only_with_the_settings_it_began_with(
    pictures, tmp_path, monkeypatch, capsys
):
    with monkeypatch.context() as patch:
        patch.setattr(ImageFiles, 'frames', interrupted(ImageFiles.frames, after=4))
        assert main(command(pictures, tmp_path / 'run')) == 130
    assert 'stopped after 4 frames' in capsys.readouterr().err
    assert main(command(pictures, tmp_path / 'run', '--resume', '--stride', '2')) == 1
    assert 'other input or settings' in capsys.readouterr().err
    state = tmp_path / 'run' / 'resume' / 'state.npz'
    state.write_bytes(state.read_bytes()[:100])
    assert main(command(pictures, tmp_path / 'run', '--resume')) == 1
    assert 'damaged' in capsys.readouterr().err


def test_a_broken_picture_ends_the_run_with_all_before_it_whole(pictures, tmp_path, capsys):
    walk = tmp_path / 'walk'
    shutil.copytree(pictures, walk)
    (walk / '5.png').write_bytes(b'no picture')
    assert main(command(walk, tmp_path / 'run')) == 1
    assert '5.png' in capsys.readouterr().err
    assert len(read_tum(tmp_path / 'run' / 'trajectory.txt')) == 5
    shutil.copy(pictures / '5.png', walk / '5.png')
    assert main(command(walk, tmp_path / 'run', '--resume')) == 0
    assert len(read_tum(tmp_path / 'run' / 'trajectory.txt')) == 8


def test_there_is_nothing_to_go_on_with_after_a_whole_run(run, pictures, capsys):
    assert main(command(pictures, run, '--resume')) == 1
    assert 'no interrupted run' in capsys.readouterr().err


def test_options_choose_frames_size_and_confidence(pictures, tmp_path, capsys):
    options = ('--stride', '2', '--frames', '3', '--size', '128', '--confidence', '1.5')
    assert main(command(pictures, tmp_path / 'run', *options)) == 0
    depth = np.load(tmp_path / 'run' / 'depth' / '000002.npy')
    confidence = np.load(tmp_path / 'run' / 'confidence' / '000002.npy')
    assert depth.shape == (96, 128)
    assert (confidence[np.isfinite(depth)] >= 1.5).all()
    stamps = read_tum(tmp_path / 'run' / 'trajectory.txt').stamps_ns
    assert stamps.tolist() == [0, 200_000_000, 400_000_000]


def test_without_calibration_a_run_says_what_it_went_by(pictures, tmp_path, capsys):
    words = command(pictures, tmp_path / 'run')
    del words[words.index('--calibration') : words.index('--calibration') + 2]
    assert main(words) == 0
    assert 'guesses 160 px' in capsys.readouterr().err
    report = json.loads((tmp_path / 'run' / 'run.json').read_text())
    assert 'give a calibration' in report['camera']


def test_with_calibration_a_run_says_so(run):
    assert json.loads((run / 'run.json').read_text())['camera'] == 'calibrated'


def test_an_interrupted_run_without_calibration_keeps_what_it_knows(
    pictures, tmp_path, monkeypatch
):
    words = command(pictures, tmp_path / 'run')
    del words[words.index('--calibration') : words.index('--calibration') + 2]
    with monkeypatch.context() as patch:
        patch.setattr(ImageFiles, 'frames', interrupted(ImageFiles.frames, after=5))
        assert main(words) == 130
    assert main([*words, '--resume']) == 0
    assert len(read_tum(tmp_path / 'run' / 'trajectory.txt')) == 8


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--calibration', 'nowhere.yaml'], 'nowhere.yaml'),
        (['--keep', 'depth,sound'], "'sound' is no part"),
        (['--stride', '0'], 'stride is 0'),
        (['--rate', '-3'], 'rate is -3'),
    ],
)
def test_wrong_words_are_answered_in_one_line(pictures, tmp_path, capsys, words, said):
    assert main([*command(pictures, tmp_path / 'run'), *words]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count('\n') == 1


def test_near_depth_is_red_far_is_blue_and_unknown_is_black():
    depth = np.tile(np.linspace(1.0, 9.0, 60, dtype=np.float32), (40, 1))
    depth[:5] = np.nan
    picture = depth_picture(depth)
    assert not picture[:5].any()
    assert picture[20, 2, 0] > picture[20, 2, 2]
    assert picture[20, -1, 2] > picture[20, -1, 0]
    assert not depth_picture(np.full((4, 4), np.nan, np.float32)).any()


def test_the_scene_stands_upright_and_its_bounds_are_true(tmp_path):
    points = np.random.default_rng(0).normal(0, 1, (50, 3)).astype(np.float32)
    camera = Camera.pinhole(40, 30, 35.0, 35.0, 19.5, 14.5)
    T = np.linalg.inv(placed(1.0, 2.0, 3.0))
    write_glb(tmp_path / 's.glb', points, np.zeros((50, 3), np.uint8), [(T, camera)], 0.5)
    document, binary = read_glb(tmp_path / 's.glb')
    accessor = document['accessors'][0]
    np.testing.assert_allclose(accessor['min'], points.min(axis=0))
    np.testing.assert_allclose(accessor['max'], points.max(axis=0))
    lens = vertices(document, binary, 1)[0]
    np.testing.assert_allclose(lens, [1.0, 2.0, 3.0], atol=1e-6)
    upright = np.reshape(document['nodes'][0]['matrix'], (4, 4)).T
    np.testing.assert_array_equal(upright @ [1, 2, 3, 1], [1, -2, -3, 1])
    assert document['buffers'][0]['byteLength'] == len(binary)
    assert all(view['byteOffset'] % 4 == 0 for view in document['bufferViews'])


def test_a_scene_of_nothing_is_a_valid_file(tmp_path):
    write_glb(tmp_path / 's.glb', np.empty((0, 3), np.float32), np.empty((0, 3), np.uint8))
    document, binary = read_glb(tmp_path / 's.glb')
    assert 'meshes' not in document
    assert binary == b''


def test_the_command_knows_every_part_of_the_folder(capsys):
    with pytest.raises(SystemExit):
        main(['--help'])
    assert ','.join(PER_FRAME) in capsys.readouterr().out.replace('\n', '').replace(' ', '')


def test_the_small_camera_is_the_one_of_the_calibration():
    camera = small_camera()
    assert [camera.fx, camera.cx, camera.cy] == [128.0, pytest.approx(78.7), pytest.approx(60.7)]
