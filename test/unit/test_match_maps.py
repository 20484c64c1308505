# SPDX-License-Identifier: Apache-2.0
"""mast3r-match and mast3r-benchmark draw what they are asked for, or say why they do not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image
from support.textured_scene import STEPS, Plane, Scene, pose

from mast3r_ros.cli import benchmark, match
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import PairResult
from mast3r_ros.core.results import EngineInfo, ScaleSource
from mast3r_ros.core.scale import Scale
from mast3r_ros.core.views import View
from mast3r_ros.viewer.colours import DEPTH, coloured
from mast3r_ros.viewer.result_pictures import depth_unit
from mast3r_ros.viewer.value_maps import STRIPES, TITLE_PX

WIDTH, HEIGHT, FOCAL, BASELINE_M, SHIFT_PX = 320, 240, 300.0, 0.1, 8
DEPTH_M = FOCAL * BASELINE_M / SHIFT_PX
GEOMETRIC = ['--backend', 'geometric', '--picture', '', '--json']


@pytest.fixture
def pair(tmp_path: Path) -> list[str]:
    """Two picture files of a textured wall, eight pixels apart."""
    paths = [tmp_path / 'left.png', tmp_path / 'right.png']
    for path, image in zip(paths, made_up_pair(WIDTH, HEIGHT, SHIFT_PX), strict=True):
        Image.fromarray(image).save(path)
    return [str(path) for path in paths]


@pytest.fixture
def calibrated(pair: list[str], tmp_path: Path) -> list[str]:
    """The same with calibrations, which put the wall at a known depth."""
    words = [*pair]
    for number in (1, 2):
        shift = -FOCAL * BASELINE_M * (number - 1)
        rows = {
            'camera_matrix': [FOCAL, 0, 160, 0, FOCAL, 120, 0, 0, 1],
            'distortion_coefficients': [0.0] * 5,
            'rectification_matrix': [1.0, 0, 0, 0, 1, 0, 0, 0, 1],
            'projection_matrix': [FOCAL, 0, 160, shift, 0, FOCAL, 120, 0, 0, 0, 1, 0],
        }
        values = {name: {'data': row} for name, row in rows.items()}
        path = tmp_path / f'{number}.yaml'
        path.write_text(yaml.safe_dump({'image_width': WIDTH, 'image_height': HEIGHT, **values}))
        words += [f'--calibration-{number}', str(path)]
    return words


def run(words: list[str], capsys: pytest.CaptureFixture[str]) -> dict:
    assert match.main([*words, *GEOMETRIC]) == 0
    return json.loads(capsys.readouterr().out)


def refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert match.main([*words, *GEOMETRIC]) == 1
    shown = capsys.readouterr().err.strip()
    assert shown.count('\n') == 0
    return shown


def drawn(path: Path) -> np.ndarray:
    """Return the map's own pixels; a small map is enlarged twice."""
    with Image.open(path) as picture:
        return np.array(picture)[TITLE_PX : TITLE_PX + 2 * HEIGHT : 2, : 2 * WIDTH : 2]


def test_maps_are_drawn_in_metres(calibrated, tmp_path, capsys):
    depth, confidence = tmp_path / 'depth.png', tmp_path / 'confidence.png'
    words = ['--depth', str(depth), '--confidence', str(confidence)]
    report = run([*calibrated, *words], capsys)
    assert report['depth_unit'] == 'metres'
    assert (report['depth'], report['confidence']) == (str(depth), str(confidence))
    known = {tuple(c) for c in coloured(np.linspace(0, 1, 256), 0, 1, DEPTH).tolist()}
    assert {tuple(colour) for colour in drawn(depth).reshape(-1, 3).tolist()} <= known | {*STRIPES}
    assert tuple(drawn(depth)[120, 160].tolist()) in known
    assert tuple(drawn(confidence)[120, 160].tolist()) not in STRIPES


def test_what_the_right_camera_does_not_see_is_striped(calibrated, tmp_path, capsys):
    maps = {name: tmp_path / f'{name}.png' for name in ('depth', 'confidence')}
    run([*calibrated, *(word for name in maps for word in (f'--{name}', str(maps[name])))], capsys)
    for path in maps.values():
        left_edge = drawn(path)[:, :3].reshape(-1, 3).tolist()
        assert {tuple(colour) for colour in left_edge} <= {*STRIPES}


@pytest.fixture
def moved(tmp_path: Path) -> list[str]:
    """Two picture files of one camera that moved sideways past several planes, and the truth."""
    camera = Camera.pinhole(WIDTH, HEIGHT, WIDTH, WIDTH, 159.5, 119.5)  # as is guessed without one
    scene = Scene((*STEPS, Plane((0.0, -0.6, 1.0), 1.6, (-3.0, 3.0, 0.35, 3.0))))
    paths = [tmp_path / 'first.png', tmp_path / 'second.png']
    for path, T in zip(paths, (np.eye(4), pose((0.15, 0.0, 0.0), (0.0, -2.0, 0.0))), strict=True):
        Image.fromarray(scene.picture(camera, T)).save(path)
    np.save(tmp_path / 'truth.npy', scene.depth(camera, np.eye(4)))
    return [*map(str, paths), '--truth', str(tmp_path / 'truth.npy')]


def test_without_calibration_the_unit_is_the_baseline(moved, tmp_path, capsys):
    report = run([*moved, '--depth', str(tmp_path / 'depth.png')], capsys)
    assert report['scale_source'] == 'none'
    assert report['depth_unit'] == 'x baseline'
    assert report['depth_error']['scaled_by'] == pytest.approx(0.15, rel=0.1)
    assert report['depth_error']['median_m'] < 0.1


def test_the_error_is_told_against_the_truth(calibrated, tmp_path, capsys):
    np.save(tmp_path / 'truth.npy', np.full((HEIGHT, WIDTH), DEPTH_M + 0.5, np.float32))
    words = ['--truth', str(tmp_path / 'truth.npy'), '--error', str(tmp_path / 'error.png')]
    report = run([*calibrated, *words], capsys)
    assert report['depth_error']['median_m'] == pytest.approx(0.5, abs=0.05)
    assert report['depth_error']['scaled_by'] == 1.0
    assert 0.8 < report['depth_error']['covered'] <= 1.0
    assert (tmp_path / 'error.png').is_file()


def test_the_truth_alone_tells_the_error_without_a_picture(calibrated, tmp_path, capsys):
    steps = np.full((HEIGHT, WIDTH), round(DEPTH_M * 5000), np.uint16)
    Image.fromarray(steps).save(tmp_path / 'truth.png')
    words = ['--truth', str(tmp_path / 'truth.png'), '--truth-steps', '5000']
    report = run([*calibrated, *words], capsys)
    assert report['depth_error']['median_m'] < 0.05
    assert 'error' not in report


def test_the_text_says_how_wrong_the_depth_is(calibrated, tmp_path, capsys):
    np.save(tmp_path / 'truth.npy', np.full((HEIGHT, WIDTH), DEPTH_M, np.float32))
    words = ['--backend', 'geometric', '--picture', '', '--truth', str(tmp_path / 'truth.npy')]
    assert match.main([*calibrated, *words]) == 0
    assert 'error of the depth: median ' in capsys.readouterr().out


def test_a_truth_that_knows_nothing_is_said_to(calibrated, tmp_path, capsys):
    np.save(tmp_path / 'truth.npy', np.zeros((HEIGHT, WIDTH), np.float32))
    words = ['--truth', str(tmp_path / 'truth.npy'), '--error', str(tmp_path / 'error.png')]
    assert run([*calibrated, *words], capsys)['depth_error']['median_m'] is None


def test_an_error_needs_a_truth(pair, tmp_path, capsys):
    assert '--truth FILE' in refused([*pair, '--error', str(tmp_path / 'error.png')], capsys)


def test_a_truth_of_another_size_is_refused(pair, tmp_path, capsys):
    np.save(tmp_path / 'truth.npy', np.ones((5, 6), np.float32))
    assert '6x5' in refused([*pair, '--truth', str(tmp_path / 'truth.npy')], capsys)


@pytest.mark.parametrize('option', ['--depth', '--confidence', '--picture'])
@pytest.mark.parametrize(
    ('name', 'words'), [('map', 'end its name with .png'), ('no/where.png', 'there is no folder')]
)
def test_a_picture_that_cannot_be_written_is_said_before_the_work(
    option, name, words, pair, tmp_path, capsys
):
    assert match.main([*pair, '--backend', 'magic', option, str(tmp_path / name)]) == 1
    assert words in capsys.readouterr().err


def result_of(source: ScaleSource, found: np.ndarray | None, given: np.ndarray | None):
    view = View(np.zeros((4, 4, 3), np.uint8))
    scale, engine = Scale(1.0, source), EngineInfo('x', 'cpu', 'fp32', {})
    T_2_1 = found if given is None else given
    return PairResult(ViewPair(view, view, given), None, None, None, scale, T_2_1, engine, (), {})


def test_the_unit_is_told_only_as_far_as_it_is_known():
    apart = np.eye(4)
    apart[0, 3] = 4.0
    assert depth_unit(result_of(ScaleSource.MODEL, None, None)) == ('metres', 1.0)
    assert depth_unit(result_of(ScaleSource.NONE, apart, None)) == ('x baseline', 4.0)
    assert depth_unit(result_of(ScaleSource.NONE, np.eye(4), None)) == ('unit unknown', 1.0)
    assert depth_unit(result_of(ScaleSource.NONE, None, None)) == ('unit unknown', 1.0)
    assert depth_unit(result_of(ScaleSource.NONE, None, apart)) == ('unit unknown', 1.0)


def test_benchmark_draws_a_histogram_of_all_sizes(tmp_path, capsys):
    path = tmp_path / 'latency.png'
    sizes = ['--size', '160x120', '--size', '80x60']
    words = ['--backend', 'geometric', '-n', '3', *sizes, '--histogram', str(path)]
    assert benchmark.main(words) == 0
    assert f'histogram: {path}' in capsys.readouterr().out
    with Image.open(path) as picture:
        assert picture.size == (800, 600)


def test_benchmark_with_a_histogram_still_prints_plain_json(tmp_path, capsys):
    words = ['--backend', 'geometric', '-n', '1', '--size', '80x60', '--json']
    assert benchmark.main([*words, '--histogram', str(tmp_path / 'latency.png')]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 1


def test_benchmark_refuses_a_histogram_that_cannot_be_written_before_it_measures(capsys):
    words = ['--backend', 'magic', '--histogram', 'latency']
    assert benchmark.main(words) == 1
    assert 'end its name with .png' in capsys.readouterr().err
