# SPDX-License-Identifier: Apache-2.0
"""A model comes whole or not at all, and grows without its weights being written again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from small_export import OTHER_SHAPE, SHAPE, SMALL, export_small, small_source

from mast3r_ros.config import ModelVariant, Precision
from mast3r_ros.errors import ModelError
from mast3r_ros.export import exporter, size_export
from mast3r_ros.export.answers import Check, answer_pair, relative_errors
from mast3r_ros.export.exporter import ExportRequest, export_model
from mast3r_ros.export.source import ModelSource
from mast3r_ros.models.catalogue import published_model
from mast3r_ros.models.checkpoints import Checkpoint
from mast3r_ros.models.description import ModelDescription, SourceFile, Weights
from mast3r_ros.models.folder import ModelFolder

TEST = Path(__file__).resolve().parents[1]
SLOW_EXPORT = """
import sys, time
from pathlib import Path
from mast3r_ros.export import size_export
from small_export import OTHER_SHAPE, SHAPE, export_small

real = size_export.check_graph
def slow(path):
    print('checking', flush=True)
    time.sleep(60)
    real(path)
size_export.check_graph = slow
shapes = {'new': (SHAPE,), 'added': (OTHER_SHAPE,)}[sys.argv[2]]
export_small(Path(sys.argv[1]), *shapes)
"""


def everything_in(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob('*'))
        if path.is_file()
    }


@pytest.fixture(scope='module')
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of one size; tests that change it work on a copy."""
    folder = tmp_path_factory.mktemp('made') / 'model'
    export_small(folder)
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    folder = tmp_path / 'model'
    folder.mkdir()
    for path in made.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def start_slow_export(folder: Path, kind: str) -> subprocess.Popen[str]:
    """Start an export that stops for long once its graphs are written."""
    paths = [str(TEST.parent), str(TEST / 'support'), os.environ.get('PYTHONPATH', '')]
    process = subprocess.Popen(
        [sys.executable, '-c', SLOW_EXPORT, str(folder), kind],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, paths))},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == 'checking\n'
    return process


def test_an_export_leaves_the_model_and_nothing_else(made: Path) -> None:
    assert [path.name for path in made.parent.iterdir()] == ['model']
    model = ModelFolder.open(made)
    assert {path.name for path in made.iterdir()} == {
        'model.json',
        'weights.data',
        'check.npz',
        *(f'32x48_{stage}.onnx' for stage in model.description.stages),
    }
    assert model.description.seeded
    assert model.description.weights.bytes == (made / 'weights.data').stat().st_size


def test_the_description_names_every_licence_of_the_weights() -> None:
    checkpoint = Checkpoint(SMALL, {}, (SourceFile('small.pth', 0, ''),))
    source = ModelSource(checkpoint, ModelVariant.DUNE_VIT_SMALL)
    weights = Weights('weights.data', 0, '')
    licence = source.describe(Precision.FP32, [(SHAPE, SHAPE)], weights).licence
    for published in published_model(ModelVariant.DUNE_VIT_SMALL).licences:
        assert published.name in licence.name
        assert published.url in licence.url


def test_a_size_is_added_without_touching_the_weights(copy: Path) -> None:
    before = everything_in(copy)
    weights = (copy / 'weights.data').stat()
    report = export_small(copy, SHAPE, OTHER_SHAPE)
    assert list(report.errors) == ['48x32']
    assert report.there == ['32x48']
    after = (copy / 'weights.data').stat()
    assert (after.st_ino, after.st_mtime_ns) == (weights.st_ino, weights.st_mtime_ns)
    assert ModelFolder.open(copy).description.shapes == (SHAPE, OTHER_SHAPE)
    left = everything_in(copy)
    assert {name: left[name] for name in before if name != 'model.json'} == {
        name: content for name, content in before.items() if name != 'model.json'
    }
    assert not [name for name in left if name.startswith('.')]


def test_a_mixed_pair_shares_the_encoders_of_its_sizes(copy: Path) -> None:
    request = ExportRequest(small_source(), [(SHAPE, OTHER_SHAPE)], Precision.FP32, copy)
    report = export_model(request)
    assert list(report.errors) == ['48x32', '32x48_48x32']
    assert max(filter(None, report.errors.values())) <= 2e-5
    model = ModelFolder.open(copy)
    assert model.description.pairs == ((SHAPE, OTHER_SHAPE),)
    assert not (copy / '32x48_48x32_encoder.onnx').exists()


def test_a_size_that_is_there_is_no_work(copy: Path) -> None:
    before = everything_in(copy)
    report = export_small(copy, SHAPE)
    assert report.errors == {}
    assert everything_in(copy) == before


def test_other_weights_are_not_mixed_into_a_model(copy: Path) -> None:
    before = everything_in(copy)
    with pytest.raises(ModelError, match=r'holds another model .*other files.*--overwrite'):
        export_small(copy, OTHER_SHAPE, seed=2)
    with pytest.raises(ModelError, match='fp32 instead of int8'):
        export_small(copy, OTHER_SHAPE, precision=Precision.INT8)
    assert everything_in(copy) == before


def test_weights_that_differ_under_one_digest_are_found_out(copy: Path) -> None:
    content = bytearray((copy / 'weights.data').read_bytes())
    content[200] ^= 1
    (copy / 'weights.data').write_bytes(content)
    with pytest.raises(ModelError, match='holds other values'):
        export_small(copy, OTHER_SHAPE)
    described = ModelDescription.from_json((copy / 'model.json').read_bytes())
    assert described.shapes == (SHAPE,)


def test_overwrite_replaces_the_model_whole(copy: Path) -> None:
    (copy / 'left over').write_text('of somebody')
    (copy / 'model.json').write_text('{')  # a damaged model too
    export_small(copy, OTHER_SHAPE, seed=2, overwrite=True)
    model = ModelFolder.open(copy)
    assert model.description.shapes == (OTHER_SHAPE,)
    assert not (copy / 'left over').exists()
    assert [path.name for path in copy.parent.iterdir()] == ['model']


@pytest.mark.parametrize('overwrite', [False, True])
def test_a_folder_of_something_else_is_left_alone(overwrite: bool, tmp_path: Path) -> None:
    folder = tmp_path / 'photos'
    folder.mkdir()
    (folder / 'me.jpg').write_bytes(b'x')
    for place in (folder, folder / 'me.jpg'):
        with pytest.raises(ModelError, match=f'{place.name} exists and holds no model.json'):
            export_small(place, overwrite=overwrite)
    assert everything_in(tmp_path) == {'photos/me.jpg': b'x'}


def test_graphs_that_answer_otherwise_never_land(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = size_export.answer_pair

    def wrong(*arguments):
        answers = real(*arguments)
        return {name: np.flip(values, 0) for name, values in answers.items()}

    calls = iter([real, wrong])  # PyTorch's answers, then those of the graphs
    monkeypatch.setattr(size_export, 'answer_pair', lambda *rest: next(calls)(*rest))
    with pytest.raises(ModelError, match='answer otherwise than PyTorch'):
        export_small(tmp_path / 'model')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('kind', ['new', 'added'])
def test_ctrl_c_leaves_things_as_they_were(
    kind: str, copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything_in(tmp_path)

    def interrupted(_path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(size_export, 'check_graph', interrupted)
    folder = tmp_path / 'another' if kind == 'new' else copy
    with pytest.raises(KeyboardInterrupt):
        export_small(folder, OTHER_SHAPE)
    assert everything_in(tmp_path) == before


@pytest.mark.parametrize('kind', ['new', 'added'])
def test_a_killed_export_is_cleaned_up_by_the_next(kind: str, copy: Path, tmp_path: Path) -> None:
    before = everything_in(copy)
    folder = tmp_path / 'another' if kind == 'new' else copy
    process = start_slow_export(folder, kind)
    with pytest.raises(ModelError, match=r'another export .* is running'):
        export_small(folder, OTHER_SHAPE)
    process.send_signal(signal.SIGKILL)
    process.wait()
    unfinished = list(tmp_path.rglob('.*unfinished*'))
    assert unfinished
    assert {name: everything_in(copy)[name] for name in before} == before
    ModelFolder.open(copy)
    export_small(folder, OTHER_SHAPE)
    assert not list(tmp_path.rglob('.*'))
    assert OTHER_SHAPE in ModelFolder.open(folder).description.shapes


def test_a_model_that_was_being_replaced_when_the_machine_stopped_comes_back(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy.rename(copy.parent / '.model.replaced')
    monkeypatch.setattr(
        exporter, '_export_sizes', lambda *_rest: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        export_small(copy, overwrite=True)
    assert ModelFolder.open(copy).description.shapes == (SHAPE,)


def test_a_full_disk_is_said_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = exporter.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(exporter.shutil, 'disk_usage', lambda _path: usage._replace(free=100))
    with pytest.raises(ModelError, match=r'0\.0 GB free'):
        export_small(tmp_path / 'model')
    assert list(tmp_path.iterdir()) == []


def test_a_precision_that_cannot_run_here_is_checked_and_said(tmp_path: Path) -> None:
    report = export_small(tmp_path / 'model', precision=Precision.BF16)
    assert report.errors == {'32x48': None}
    (note,) = report.notes
    assert 'checked, not run' in note
    assert ModelFolder.open(tmp_path / 'model').description.precision is Precision.BF16
    openvino = pytest.importorskip('openvino', reason='needs openvino')
    check = Check.load(tmp_path / 'model' / 'check.npz')
    core = openvino.Core()

    def run(stage, _view, inputs):
        graph = core.compile_model(tmp_path / 'model' / f'32x48_{stage}.onnx', 'CPU')
        found = graph(inputs)
        return {port.any_name: np.asarray(found[port], np.float32) for port in graph.outputs}

    answers = answer_pair(SMALL, run, check.image_1, check.image_2)
    errors = relative_errors(check.sample(answers), check.answers)
    assert 1e-5 < max(errors.values()) < 0.1
