# SPDX-License-Identifier: Apache-2.0
"""mast3r-export and mast3r-validate as a user meets them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from small_export import SMALL, save_small_checkpoint

from mast3r_ros.choices import ModelVariant
from mast3r_ros.cli import export, validate
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.models import catalogue
from mast3r_ros.models.checkpoint_records import CheckpointRecords
from mast3r_ros.models.folder import ModelFolder

PUBLISHED_NAME = 'checkpoints/DUSt3R_ViTLarge_BaseDecoder_224_linear.pth'


@pytest.fixture(scope='module', autouse=True)
def small_network() -> Iterator[None]:
    """Let the smallest network be what was published."""
    published = catalogue.MODELS[ModelVariant.DUST3R_224_LINEAR]
    small = {name: getattr(SMALL, name) for name in published.dimensions}
    with pytest.MonkeyPatch.context() as patch:
        smaller = replace(published, dimensions=small)
        patch.setitem(catalogue.MODELS, ModelVariant.DUST3R_224_LINEAR, smaller)
        yield


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with weights under their published name."""
    folder = tmp_path_factory.mktemp('cache')
    save_small_checkpoint(folder / PUBLISHED_NAME)
    return folder


def words(cache: Path, *more: str) -> list[str]:
    return ['--variant', 'dust3r_224_linear', '--cache-dir', str(cache), *more]


def with_package() -> dict[str, str]:
    """Return an environment in which a new process finds what this one does."""
    path = os.pathsep.join([str(Path(export.__file__).parents[2]), *filter(None, sys.path)])
    return {**os.environ, 'PYTHONPATH': path}


@pytest.fixture(scope='module')
def model(cache: Path) -> Path:
    """What the command makes of those weights, in its usual place."""
    assert export.main(words(cache, '--size', '48x32', '--made-up')) == 0
    return cache / 'models' / 'dust3r_224_linear' / 'fp32'


def assert_one_line_error(capsys: pytest.CaptureFixture[str], *parts: str) -> None:
    shown = capsys.readouterr().err.strip()
    assert [line for line in shown.splitlines() if 'error:' in line] == shown.splitlines()[-1:]
    for part in parts:
        assert part in shown


def test_downloaded_weights_become_the_model_that_engines_find(model: Path) -> None:
    description = ModelFolder.open(model).description
    assert description.shapes == ((32, 48),)
    assert description.seeded
    assert [source.name for source in description.sources] == [Path(PUBLISHED_NAME).name]


def test_a_second_size_is_added_and_the_report_says_what_was_there(
    model: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main(words(cache, '--size', '48x32', '--size', '32x48', '--json')) == 0
    report = json.loads(capsys.readouterr().out)
    assert report['sizes'] == ['48x32']
    assert report['there_already'] == ['32x48']
    assert report['relative_errors']['48x32'] <= 2e-5
    assert report['peak_memory_bytes'] > 1e7
    assert report['folder'] == str(model)
    assert ModelFolder.open(model).description.shapes == ((32, 48), (48, 32))


def test_a_checkpoint_by_its_path_goes_where_it_is_told(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / 'my model'
    given = ['--checkpoint', str(cache / PUBLISHED_NAME), '--size', '32x32']
    assert export.main([*given, '--output', str(output), '--precision', 'int8']) == 0
    shown = capsys.readouterr().out
    assert f'dust3r_224_linear int8: {output}' in shown
    assert 'of PyTorch in float32' in shown
    assert ModelFolder.open(output).description.precision.value == 'int8'


@pytest.mark.parametrize(
    ('given', 'parts'),
    [
        (['--size', '50x32'], ['50x32 is no multiple', 'nearest is 48x32', '--image-size']),
        (['--size-2', '48x32'], ['--size-2', '--size']),
        (['--size', '48x32', '--resolution', '64'], ['--resolution', '--image-size']),
        (['--image-size', '10000x10', '--resolution', '448'], ['becomes', 'patch']),
        (['--checkpoint', 'no such.pth'], ['no such.pth']),
        (['--variant', 'mast3r_vit_large'], ['mast3r-download --variant mast3r_vit_large']),
        (
            ['--checkpoint', PUBLISHED_NAME, '--variant', 'dune_vit_base'],
            ['not dune_vit_base: family dust3r instead of dune', 'own variant, or none'],
        ),
        (
            ['--checkpoint', PUBLISHED_NAME, '--variant', 'dust3r_512_linear'],
            ['not dust3r_512_linear: ', 'enc_dim 32 instead of 1024'],
        ),
    ],
)
def test_wrong_words_are_one_sentence(
    given: list[str], parts: list[str], cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(cache / item) if item == PUBLISHED_NAME else item for item in given]
    assert export.main(words(cache, *given)) == 1
    assert_one_line_error(capsys, *parts)


def test_weights_that_changed_since_they_were_fetched_are_not_exported(
    cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'checkpoints'
    folder.mkdir()
    name = Path(PUBLISHED_NAME).name
    shutil.copy(cache / PUBLISHED_NAME, folder / name)
    CheckpointRecords(folder).remember(name, '0' * 64, 'a server')
    for given in (words(tmp_path), ['--checkpoint', str(folder / name)]):
        assert export.main([*given, '--size', '48x32', '--output', str(tmp_path / 'model')]) == 1
        assert_one_line_error(capsys, name, 'is not what it was on', 'fetch it again')
    assert not (tmp_path / 'model').exists()


def test_without_its_libraries_the_command_says_what_to_install(cache: Path) -> None:
    code = (
        'import sys\n'
        'from importlib.machinery import PathFinder\n'
        'real = PathFinder.find_spec\n'
        'PathFinder.find_spec = lambda name, *rest: (\n'
        "    None if name in ('torch', 'onnxscript') else real(name, *rest)\n"
        ')\n'
        'from mast3r_ros.cli.export import main\n'
        'sys.exit(main(sys.argv[1:]))\n'
    )
    answer = subprocess.run(
        [sys.executable, '-c', code, *words(cache)],
        capture_output=True,
        text=True,
        check=False,
        env=with_package(),
    )
    assert answer.returncode == 1
    assert answer.stderr.count('\n') == 1
    assert 'an export needs torch, onnxscript' in answer.stderr
    assert "pip install 'mast3r_ros[export]'" in answer.stderr


def test_ctrl_c_ends_with_130_and_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    output = tmp_path / 'model'
    checkpoint = str(cache / PUBLISHED_NAME)
    command = [
        *(sys.executable, '-m', 'mast3r_ros.cli.export', '--checkpoint', checkpoint),
        *('--size', '48x32', '--output', str(output)),
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=with_package())
    while not list(tmp_path.iterdir()):
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said = process.communicate()[1]
    assert process.returncode == 130, said
    assert said.strip().endswith('mast3r-export: stopped')
    assert list(tmp_path.iterdir()) == []


def test_without_pictures_validate_says_that_they_are_made_up(
    model: Path, cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    engines = ['--reference', 'onnxruntime:fp32', '--candidate', 'onnxruntime:fp32']
    assert validate.main([*engines, '--model', str(model.parent)]) == 0
    shown = capsys.readouterr()
    assert 'no real picture' in shown.err
    assert shown.out.rstrip().endswith('passed')
    outcome = ModelFolder.open(model).description.validations[-1]
    assert outcome.passed
    assert not outcome.real_pictures


def test_a_limit_that_does_not_hold_is_exit_code_1_and_recorded(
    model: Path, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert export.main(words(cache, '--size', '48x32', '--precision', 'int8')) == 0
    pictures = []
    for name, image in zip(('left', 'right'), made_up_pair(96, 64), strict=True):
        pictures.append(str(tmp_path / f'{name}.png'))
        Image.fromarray(np.asarray(image)).save(pictures[-1])
    engines = ['--reference', 'onnxruntime:fp32', '--candidate', 'onnxruntime:int8']
    command = [*engines, '--variant', 'dust3r_224_linear', '--cache-dir', str(cache), '--json']
    capsys.readouterr()
    assert validate.main([*command, '--max-point-error', '1e-9', *pictures]) == 1
    report = json.loads(capsys.readouterr().out)
    assert not report['passed']
    assert report['real_pictures']
    assert 'median point error' in report['broken'][0]
    assert [item['name'] for item in report['pictures']] == ['left.png', 'right.png']
    assert validate.main([*command, '--max-point-error', '1', *pictures]) == 0
    assert 'auto does not take the int8 model for that: the limit of' in capsys.readouterr().err
    found = ModelFolder.open(model.parent / 'int8').description
    assert [outcome.passed for outcome in found.validations] == [False, True]
    assert not found.is_proven_for('onnxruntime')
    assert not ModelFolder.open(model).description.is_proven_for('onnxruntime')


def test_an_outcome_that_cannot_be_kept_is_shown_all_the_same(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / 'model'
    shutil.copytree(model, folder)
    (folder / '.model.json.unfinished').mkdir()  # nothing can be written there
    engines = ['--reference', 'onnxruntime:fp32', '--candidate', 'onnxruntime:fp32']
    assert validate.main([*engines, '--model', str(folder), '--json']) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out)['passed']
    assert 'cannot be kept' in shown.err
    assert '--no-record' in shown.err


@pytest.mark.parametrize(
    ('given', 'parts'),
    [
        (['--candidate', 'magic'], ['magic', 'onnxruntime']),
        (['--candidate', 'onnxruntime:fp99'], ['fp99', 'int8']),
        (['--candidate', 'geometric'], ['geometric cannot be compared']),
        (['--candidate', 'onnxruntime', 'a.png'], ['1 pictures', 'even']),
        (['--candidate', 'onnxruntime', 'no.png', 'no.png'], ['no.png']),
        (['--candidate', 'onnxruntime', '--model-2', 'nowhere'], ['nowhere']),
        (['--candidate', 'onnxruntime', '--size', '64x64'], ['64x64', 'export']),
    ],
)
def test_validate_answers_wrong_words_in_one_sentence(
    given: list[str], parts: list[str], model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ['--reference', 'onnxruntime:fp32', '--model', str(model)]
    assert validate.main([*command, *given]) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'error:' in error
    for part in parts:
        assert part in error
