# SPDX-License-Identifier: Apache-2.0
"""A published file is read whole, under its published names, and only as far as is asked."""

from __future__ import annotations

import gc
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')

from support.checkpoint_files import (  # noqa: E402  # it needs PyTorch
    MAST3R,
    SMALL,
    golden_case,
    golden_tensors,
    save_dune_encoder,
    save_published,
)
from support.golden_weights import assert_golden  # noqa: E402

from mast3r_ros.errors import CheckpointError  # noqa: E402
from mast3r_ros.models.checkpoints import read_checkpoint, read_outline  # noqa: E402
from mast3r_ros.models.model_string import parse_model_string  # noqa: E402
from mast3r_ros.models.official_keys import official_shapes  # noqa: E402


@pytest.fixture(scope='module')
def mast3r_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_published(tmp_path_factory.mktemp('mast3r') / 'mast3r.pth', MAST3R)


@pytest.fixture
def dune_encoder(tmp_path: Path) -> Path:
    return save_dune_encoder(tmp_path / 'dune_vittiny14_84.pth')


def test_a_published_mast3r_file_gives_architecture_and_tensors(mast3r_file: Path) -> None:
    checkpoint = read_checkpoint(mast3r_file)
    assert (
        checkpoint.architecture == parse_model_string(golden_case(MAST3R)['model']).architecture()
    )
    assert_golden(checkpoint.tensors, MAST3R)
    assert checkpoint.notes == ()
    assert checkpoint.official_pair


def test_the_tensors_are_just_those_of_the_architecture(mast3r_file: Path) -> None:
    outline = read_outline(mast3r_file)
    assert outline.files[0].shapes == official_shapes(outline.architecture)


def test_sources_carry_name_size_and_hash(tmp_path: Path) -> None:
    path = save_published(tmp_path / 'weights.pth', SMALL)
    (source,) = read_checkpoint(path).sources
    assert source.name == 'weights.pth'
    assert source.bytes == path.stat().st_size
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_reading_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = save_published(tmp_path / 'weights.pth', SMALL)
    before = path.read_bytes()
    tensors = read_checkpoint(path).tensors
    tensors['mask_token'].fill_(7)
    del tensors
    gc.collect()
    assert path.read_bytes() == before


@pytest.mark.parametrize('kept', ['first', 'second'])
def test_either_name_of_an_aliased_tensor_will_do(
    kept: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dropped = '_rn.weight' if kept == 'second' else 'layer_rn.'
    names = golden_tensors(MAST3R, torch.float16)
    model = {key: value for key, value in names.items() if dropped not in key}
    assert len(model) == len(names) - 8
    path = tmp_path_factory.mktemp('alias') / 'alias.pth'
    checkpoint = read_checkpoint(save_published(path, MAST3R, model=model))
    path.unlink()
    assert set(official_shapes(checkpoint.architecture)) == set(checkpoint.tensors)


def test_names_of_one_tensor_that_differ_are_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = golden_tensors(MAST3R, torch.float16)
    key = 'downstream_head1.dpt.scratch.layer_rn.0.weight'
    model[key] = model[key] + 1
    path = save_published(tmp_path_factory.mktemp('alias') / 'alias.pth', MAST3R, model=model)
    with pytest.raises(CheckpointError, match='names of one tensor and differ'):
        read_checkpoint(path)
    path.unlink()


def test_unused_tensors_may_be_missing(tmp_path: Path) -> None:
    model = golden_tensors(SMALL)
    del model['mask_token']
    path = save_published(tmp_path / 'lean.pth', SMALL, model=model)
    assert 'mask_token' not in read_checkpoint(path).tensors


def test_without_a_description_the_shapes_tell(tmp_path: Path) -> None:
    case = golden_case(SMALL)
    text = case['model'].replace('enc_num_heads=2', 'enc_num_heads=1')
    assert '64' in text  # one head of 64 channels is what the published networks have
    path = save_published(tmp_path / 'bare.pth', SMALL, args=None)
    with pytest.raises(CheckpointError, match='decoder of 48 channels is not of the published'):
        read_checkpoint(path)


def test_a_mast3r_file_takes_no_encoder(mast3r_file: Path, dune_encoder: Path) -> None:
    with pytest.raises(CheckpointError, match='takes no encoder file'):
        read_checkpoint(mast3r_file, dune_encoder)


@pytest.mark.skipif(sys.platform != 'linux', reason='needs a Linux machine')
def test_reading_maps_the_file_instead_of_copying_it(mast3r_file: Path) -> None:
    """The private memory of a process that has read 180 MB grows by a small part of that."""
    script = """
import sys, torch
from mast3r_ros.models.checkpoints import read_checkpoint
def private_kb():
    return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon'))
before = private_kb()
tensors = read_checkpoint(sys.argv[1]).tensors
total = sum(float(tensor.sum()) for tensor in tensors.values())
print(private_kb() - before)
"""
    answer = subprocess.run(
        [sys.executable, '-c', script, str(mast3r_file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(answer.stdout) * 1024 < mast3r_file.stat().st_size / 3


def test_shapes_are_told_without_pytorch(mast3r_file: Path) -> None:
    script = """
import sys
sys.modules['torch'] = None
from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.checkpoints import read_checkpoint, read_outline
print(read_outline(sys.argv[1]).architecture.family)
try:
    read_checkpoint(sys.argv[1])
except CheckpointError as error:
    print(error)
"""
    answer = subprocess.run(
        [sys.executable, '-c', script, str(mast3r_file)],
        capture_output=True,
        text=True,
        check=True,
    )
    family, sentence = answer.stdout.strip().splitlines()
    assert family == 'mast3r'
    assert "pip install 'mast3r_ros[export]'" in sentence
