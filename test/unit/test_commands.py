# SPDX-License-Identifier: Apache-2.0
"""What every command promises: help with examples, one-line errors, exit codes, JSON."""

from __future__ import annotations

import importlib
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from mast3r_ros.cli import benchmark, download, export, info, match, replay, validate, view
from mast3r_ros.core.benchmark import made_up_pair

COMMANDS = {
    'mast3r-download': download,
    'mast3r-export': export,
    'mast3r-validate': validate,
    'mast3r-info': info,
    'mast3r-benchmark': benchmark,
    'mast3r-match': match,
    'mast3r-replay': replay,
    'mast3r-view': view,
}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[str, str]:
    """Two picture files of a textured wall, eight pixels apart."""
    paths = (tmp_path / 'left.png', tmp_path / 'right.png')
    for path, image in zip(paths, made_up_pair(320, 240), strict=True):
        Image.fromarray(image).save(path)
    return str(paths[0]), str(paths[1])


def write_calibration(path: Path, baseline_m: float) -> str:
    """Write what the ROS calibration tool writes for a rectified 320x240 camera."""
    rows = {
        'camera_matrix': [300.0, 0, 160, 0, 300, 120, 0, 0, 1],
        'distortion_coefficients': [0.0] * 5,
        'rectification_matrix': [1.0, 0, 0, 0, 1, 0, 0, 0, 1],
        'projection_matrix': [300.0, 0, 160, -300 * baseline_m, 0, 300, 120, 0, 0, 0, 1, 0],
    }
    values = {'image_width': 320, 'image_height': 240, 'distortion_model': 'plumb_bob'}
    path.write_text(
        yaml.safe_dump({**values, **{key: {'data': row} for key, row in rows.items()}})
    )
    return str(path)


@pytest.mark.parametrize('name', COMMANDS)
def test_help_shows_examples_and_exit_codes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        COMMANDS[name].main(['--help'])
    shown = capsys.readouterr().out
    assert stop.value.code == 0
    assert 'examples:' in shown
    assert f'  {name}' in shown
    assert 'exit codes:' in shown


@pytest.mark.parametrize(
    'module', ['info', 'benchmark', 'match', 'replay', 'download', 'export', 'validate']
)
def test_help_loads_no_numpy(module: str) -> None:
    code = (
        f'import sys; from mast3r_ros.cli import {module}\n'
        f'try: {module}.main(["--help"])\n'
        'except SystemExit: pass\n'
        'sys.exit("numpy" in sys.modules)'
    )
    assert subprocess.run([sys.executable, '-c', code], capture_output=True).returncode == 0


@pytest.mark.parametrize('name', COMMANDS)
def test_unknown_option_is_wrong_use(name: str) -> None:
    with pytest.raises(SystemExit) as stop:
        COMMANDS[name].main(['--no-such-option'])
    assert stop.value.code == 2


def test_info_names_every_engine_and_why_it_cannot_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert info.main(['--json']) == 0
    facts = json.loads(capsys.readouterr().out)
    engines = {item['name']: item for item in facts['engines']}
    assert engines['geometric']['available'] is True
    assert all(item['reason'] for item in engines.values() if not item['available'])
    assert facts['auto']['choice'] != 'geometric'
    assert facts['libraries']['numpy'] == np.__version__


def test_info_as_text_says_what_auto_picks(capsys: pytest.CaptureFixture[str]) -> None:
    assert info.main([]) == 0
    assert 'auto picks' in capsys.readouterr().out


def test_benchmark_reports_every_stage(capsys: pytest.CaptureFixture[str]) -> None:
    words = ['--backend', 'geometric', '--size', '160x120', '-n', '2', '--json']
    assert benchmark.main(words) == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report['engine'] == 'geometric'
    assert report['iterations'] == 2
    assert {'preprocess', 'encode', 'decode', 'match', 'total'} <= set(report['stages_ms'])
    assert all(stage['min'] <= stage['median'] for stage in report['stages_ms'].values())


def test_benchmark_refuses_zero_iterations_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main(['--backend', 'geometric', '-n', '0']) == 1
    assert_one_line_error(capsys, 'iterations is 0')


def test_match_writes_a_picture_of_both_images(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / 'matches.png'
    words = [*pair, '--backend', 'geometric', '--picture', str(picture), '--json']
    assert match.main(words) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['matches'] > 100
    with Image.open(picture) as drawn:
        assert drawn.height == 240
        assert drawn.width > 640


def test_match_with_calibration_writes_a_cloud_in_metres(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cloud = tmp_path / 'cloud.ply'
    left = write_calibration(tmp_path / 'left.yaml', 0.0)
    right = write_calibration(tmp_path / 'right.yaml', 0.1)
    words = ['--calibration-1', left, '--calibration-2', right, '--cloud', str(cloud), '--json']
    assert match.main([*pair, '--backend', 'geometric', '--picture', '', *words]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['scale_source'] == 'stereo_baseline'
    depth = read_ply_depth(cloud)
    assert len(depth) == report['points'] > 40_000
    assert np.median(depth) == pytest.approx(300 * 0.1 / 8, rel=0.01)  # f * baseline / disparity


def test_match_leaves_masked_pixels_out(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = np.zeros((240, 320), np.uint8)
    mask[:, 160:] = 255
    Image.fromarray(mask).save(tmp_path / 'mask.png')
    words = [*pair, '--backend', 'geometric', '--picture', '', '--json']
    assert match.main(words) == 0
    whole = json.loads(capsys.readouterr().out)['matches']
    assert match.main([*words, '--mask-1', str(tmp_path / 'mask.png')]) == 0
    assert 0 < json.loads(capsys.readouterr().out)['matches'] < 0.7 * whole


def test_match_takes_images_of_different_size_and_orientation(
    pair: tuple[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    portrait = tmp_path / 'portrait.png'
    with Image.open(pair[1]) as image:
        image.crop((60, 0, 220, 240)).save(portrait)
    assert match.main([pair[0], str(portrait), '--backend', 'geometric', '--picture', '']) == 0
    assert 'matches' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (None, 'does not exist'),
        (b'', 'no image that can be read'),
        (b'not an image', 'no image that can be read'),
        (b'\x89PNG\r\n\x1a\n' + bytes(20), 'read'),
    ],
)
def test_match_says_what_is_wrong_with_a_file(
    content: bytes | None,
    words: str,
    pair: tuple[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bad = tmp_path / 'bad.png'
    if content is not None:
        bad.write_bytes(content)
    assert match.main([pair[0], str(bad), '--backend', 'geometric']) == 1
    assert_one_line_error(capsys, 'image 2', words)


def test_match_with_an_unknown_engine_names_the_known_ones(
    pair: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert match.main([*pair, '--backend', 'magic']) == 1
    assert_one_line_error(capsys, 'magic', 'geometric')


def test_debug_shows_the_trace(pair: tuple[str, str]) -> None:
    with pytest.raises(Exception, match='magic'):
        match.main([*pair, '--backend', 'magic', '--debug'])


def test_ctrl_c_ends_with_130_and_no_trace(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(info, 'collect', interrupted)
    assert info.main([]) == 130
    assert capsys.readouterr().err.strip() == 'mast3r-info: stopped'


def test_ctrl_c_inside_executed_text_ends_with_130_too(tmp_path: Path) -> None:
    program = """
import sys
from mast3r_ros.cli.command import make_parser, run_command

def work(arguments):
    exec('raise KeyboardInterrupt')

sys.exit(run_command(make_parser('stopped-within', 'Stop.', ''), work, []))
"""
    (tmp_path / 'stopped_within.py').write_text(program)
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    ended = subprocess.run(
        [sys.executable, '-m', 'stopped_within'],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, 'PYTHONPATH': paths},
    )
    assert (ended.returncode, ended.stderr.strip()) == (130, 'stopped-within: stopped')


def test_every_command_of_setup_exists() -> None:
    setup = (Path(__file__).parents[2] / 'setup.cfg').read_text()
    for name, module in COMMANDS.items():
        assert name in setup
        assert callable(importlib.import_module(module.__name__).main)


def assert_one_line_error(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    shown = capsys.readouterr().err.strip()
    assert shown.count('\n') == 0
    assert 'error:' in shown
    for word in words:
        assert word in shown


def read_ply_depth(path: Path) -> np.ndarray:
    """Return z of every vertex, read as any PLY reader would: by the header."""
    header, _, body = path.read_bytes().partition(b'end_header\n')
    lines = header.decode('ascii').splitlines()
    count = next(int(line.split()[-1]) for line in lines if line.startswith('element vertex'))
    size = {'float': 4, 'uchar': 1}
    kinds = [line.split()[1:] for line in lines if line.startswith('property')]
    offset = sum(size[kind] for kind, _ in kinds[: [name for _, name in kinds].index('z')])
    stride = sum(size[kind] for kind, _ in kinds)
    assert len(body) == count * stride
    return np.array(
        [struct.unpack_from('<f', body, row * stride + offset)[0] for row in range(count)]
    )
