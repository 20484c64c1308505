# SPDX-License-Identifier: Apache-2.0
"""Commands with a real exported network on ONNX Runtime, as a user runs them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')
pytest.importorskip('rosbags', reason='needs rosbags')

from PIL import Image
from support.bag_files import stereo_plan
from support.network_engines import pictures
from support.tiny_model import quick_model

from mast3r_ros.bags.bag import Bag
from mast3r_ros.cli import benchmark, info, match, replay
from mast3r_ros.config import ModelConfig, NodeConfig


def engine(backend: str = 'onnxruntime') -> list[str]:
    return ['--backend', backend, '--model', str(quick_model()), '--resolution', '112']


def run(command, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """Run a command; return its exit code, what it printed and what it complained of."""
    code = command.main([str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def read(path: Path) -> list[tuple[str, int, bytes]]:
    """Return the messages of a bag."""
    with Bag(path, pytest.fail) as bag:
        return [(item.topic, item.time_ns, bytes(item.data)) for item in bag.messages(bag.topics)]


def save(folder: Path) -> tuple[Path, Path]:
    """Write a pair of pictures."""
    paths = folder / 'a.png', folder / 'b.png'
    for path, image in zip(paths, pictures(), strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize('mode', ['stereo', 'sequence'])
def test_a_bag_replayed_twice_gives_the_same_bytes(mode: str, tmp_path: Path, capsys) -> None:
    bag = stereo_plan(3).write(tmp_path / 'flight')
    words = [bag, *engine(), '--mode', mode]
    if mode == 'sequence':
        words += ['--image', '/cam/left/image_rect']
    written = []
    for name in ('first', 'second'):
        code, printed, said = run(replay, capsys, *words, '--output', tmp_path / name, '--json')
        assert code == 0, said
        report = json.loads(printed)
        assert (report['engine'], report['failed']) == ('onnxruntime', 0)
        assert report['pairs'] == (3 if mode == 'stereo' else 2)
        written.append(read(tmp_path / name))
    assert written[0] == written[1]
    topics = {topic for topic, _, _ in written[0]}
    assert {'/mast3r/points', '/mast3r/matches', '/mast3r/confidence'} <= topics


def test_the_benchmark_times_every_stage(capsys) -> None:
    words = [*engine(), '--size', '160x120', '--iterations', '2', '--json']
    code, printed, said = run(benchmark, capsys, *words)
    assert code == 0, said
    (report,) = json.loads(printed)
    assert (report['engine'], report['precision']) == ('onnxruntime', 'fp32')
    stages = report['stages_ms']
    assert {'encode', 'decoder', 'points', 'descriptors', 'match', 'total'} <= set(stages)
    assert 'load' not in stages  # the warm-up's


@pytest.mark.parametrize('backend', ['onnxruntime', 'pytorch'])
def test_two_pictures_are_matched_and_become_a_cloud(backend: str, tmp_path: Path, capsys) -> None:
    image_1, image_2 = save(tmp_path)
    words = ['--picture', tmp_path / 'm.png', '--cloud', tmp_path / 'c.ply', '--json']
    code, printed, said = run(match, capsys, image_1, image_2, *engine(backend), *words)
    assert code == 0, said
    assert json.loads(printed)['matches'] > 0
    assert np.asarray(Image.open(tmp_path / 'm.png')).any()
    assert (tmp_path / 'c.ply').read_bytes().startswith(b'ply')


def test_a_picture_of_another_shape_is_one_line_with_the_export(tmp_path: Path, capsys) -> None:
    square = tmp_path / 'square.png'
    Image.fromarray(np.zeros((120, 120, 3), np.uint8)).save(square)
    code, _, said = run(match, capsys, square, square, *engine(), '--picture', '')
    assert code == 1
    lines = [line for line in said.splitlines() if 'error:' in line]
    assert len(lines) == 1
    assert '`mast3r-export --variant dune_vit_small --size 112x112 ' in lines[0]


def test_without_a_model_a_command_says_how_to_get_one(tmp_path: Path, capsys) -> None:
    settings = tmp_path / 'settings.yaml'
    NodeConfig(model=ModelConfig(), cache_dir=tmp_path / 'cache').to_yaml(settings)
    image_1, image_2 = save(tmp_path)
    code, _, said = run(match, capsys, image_1, image_2, '--config', settings)
    assert code == 1
    place = f'--cache-dir {tmp_path / "cache"}`'
    assert f'mast3r-download --variant dune_vit_small {place}' in said
    assert f'mast3r-export --variant dune_vit_small --size 336x252 {place}' in said


def test_info_lists_the_models_in_the_cache(
    tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    place = tmp_path / 'mast3r_ros' / 'models' / 'dune_vit_small' / 'fp32'
    place.parent.mkdir(parents=True)
    place.symlink_to(quick_model())
    code, printed, _ = run(info, capsys)
    assert code == 0
    assert 'models   dune_vit_small fp32 (112x84)' in printed
    assert 'onnxruntime  ready' in printed
