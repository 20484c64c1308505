# SPDX-License-Identifier: Apache-2.0
"""Damaged and mistaken files are refused in one sentence and left as they were."""

from __future__ import annotations

import argparse
import io
import json
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip('torch')

from support.checkpoint_files import (  # noqa: E402  # it needs PyTorch
    SMALL,
    config_of,
    golden_case,
    golden_tensors,
    pickled_in_archive,
    refusal,
    save_published,
    write_safetensors,
)

from mast3r_ros.errors import CheckpointError, Mast3rError  # noqa: E402
from mast3r_ros.models.checkpoints import read_checkpoint, read_outline  # noqa: E402
from mast3r_ros.models.torch_archive import TorchArchive  # noqa: E402


@pytest.fixture(scope='module')
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a good file."""
    path = tmp_path_factory.mktemp('whole') / 'whole.pth'
    return save_published(path, SMALL).read_bytes()


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'', 'empty'),
        (b'<!DOCTYPE html><html><body>404</body></html>', 'web page'),
        (b'\n\n <html><head></head></html>', 'web page'),
        (b'version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 3\n', 'git lfs pull'),
        (b'{"error": "Repository not found"}', 'JSON'),
        (pickle.dumps({'model': {}}, protocol=4), 'can be read safely'),
        (b'\x1f\x8b\x08\x00' + bytes(60), 'unpack'),
        (bytes(4096), 'all zeros'),
        (b'hello, this is not a checkpoint', 'neither'),
        (b'PK\x03\x04' + bytes(100), 'cut off or damaged'),
        (b'PK\x05\x06' + bytes(18), 'neither'),
    ],
)
def test_what_is_no_checkpoint_is_said(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    path.write_bytes(content)
    assert words in refusal(path)


def test_a_missing_file_and_a_folder_are_said(tmp_path: Path) -> None:
    assert 'does not exist' in refusal(tmp_path / 'nothing.pth')
    assert 'is no file' in refusal(tmp_path)


@pytest.mark.skipif(not Path('/proc/self/mem').exists(), reason='needs a Linux machine')
def test_a_file_that_cannot_be_read_is_said() -> None:
    with pytest.raises(CheckpointError, match='cannot be read: Input/output error'):
        read_checkpoint('/proc/self/mem')


def test_a_zip_of_something_else_is_said(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('readme.txt', 'hello')
    assert 'not one of torch.save' in refusal(path)


@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_torchscript_is_said(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), str(path))
    assert 'TorchScript' in refusal(path)


def test_the_old_format_of_pytorch_is_said(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    torch.save({'model': {'a': torch.ones(2)}}, path, _use_new_zipfile_serialization=False)
    assert 'can be read safely' in refusal(path)


@pytest.mark.parametrize(
    ('contents', 'words'),
    [
        ({}, 'holds no weights, only nothing'),
        ([1, 2], 'holds no weights, but a list'),
        ({'optimizer': {'state': {}}, 'epoch': 1}, 'only epoch, optimizer'),
        ({'model': {}, 'args': None}, 'only args'),
        ({'model': {'conv1.weight': torch.ones(2, 2)}}, 'no network of the MASt3R family'),
        ({'model': {'whitener.p': torch.ones(2)}}, 'no network of the MASt3R family'),
        ({'model': 'a text'}, 'holds no weights'),
        (torch.ones(3), 'holds no weights'),
    ],
)
def test_files_of_other_contents_are_said(contents: object, words: str, tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    torch.save(contents, path)
    assert words in refusal(path)


def changed_model(change: Callable[[dict], None], path: Path, **more: object) -> Path:
    model = golden_tensors(SMALL)
    change(model)
    return save_published(path, SMALL, model=model, **more)


def without(part: str) -> Callable[[dict], None]:
    def change(model: dict) -> None:
        for key in [key for key in model if part in key]:
            del model[key]

    return change


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (without('dec_blocks2.'), 'a decoder for one view only'),
        (without('downstream_head'), 'no head for points'),
        (without('dec_blocks.7.norm_y.weight'), 'it lacks dec_blocks.7.norm_y.weight'),
        (without('dec_blocks2.3'), 'it lacks dec_blocks2.3.'),
        (without('enc_blocks.1.'), 'enc_depth 2 where the shapes have 1'),
        (without('patch_embed.proj.weight'), 'it lacks patch_embed.proj.weight'),
        (lambda model: model.update(more=torch.ones(1)), 'has what its network does not: more'),
        (
            lambda model: model.update({'dec_norm.weight': torch.ones(47)}),
            'dec_norm.weight has the shape [47] instead of [48]',
        ),
        (
            lambda model: model.update({'decoder_embed.weight': torch.ones(3)}),
            'decoder_embed.weight has the shape [3]',
        ),
        (
            lambda model: model.update({'dec_norm.weight': torch.ones(48, dtype=torch.int32)}),
            'dec_norm.weight is of int32',
        ),
    ],
)
def test_weights_that_do_not_make_the_network_are_said(
    change: Callable[[dict], None], words: str, tmp_path: Path
) -> None:
    assert words in refusal(changed_model(change, tmp_path / 'weights.pth'))


def test_a_croco_pretraining_is_said(tmp_path: Path) -> None:
    def change(model: dict) -> None:
        without('downstream_head')(model)
        without('dec_blocks2.')(model)
        model['prediction_head.weight'] = torch.ones(768, 48)

    path = changed_model(change, tmp_path / 'weights.pth')
    assert 'CroCo' in refusal(path)


@pytest.mark.parametrize(
    ('old', 'new', 'words'),
    [
        ('AsymmetricCroCo3DStereo(', '__import__("os").system("true")(', 'model string'),
        ('enc_depth=2', 'enc_depth=print(2)', 'nothing in a checkpoint is ever run'),
        ('enc_depth=2', 'enc_depth=3', 'enc_depth 3 where the shapes have 2'),
        ('dec_embed_dim=48', 'dec_embed_dim=96', 'dec_dim 96 where the shapes have 48'),
        ("head_type='linear'", "head_type='dpt'", 'head dpt where the shapes have linear'),
        ('AsymmetricCroCo3DStereo', 'SomethingElse', 'SomethingElse'),
    ],
)
def test_a_description_that_is_wrong_is_said(
    old: str, new: str, words: str, tmp_path: Path
) -> None:
    text = golden_case(SMALL)['model']
    assert old in text
    arguments = argparse.Namespace(model=text.replace(old, new))
    path = save_published(tmp_path / 'weights.pth', SMALL, args=arguments)
    assert words in refusal(path)


# --- Damage --------------------------------------------------------------------------------------


def survives(content: bytes, path: Path) -> None:
    """Read a damaged file: it is refused in our words, or what was damaged did not matter."""
    path.write_bytes(content)
    with suppress(Mast3rError):
        read_outline(path)
        TorchArchive(path).verify()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(part=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_off_anywhere_is_refused(part: float, whole: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'cut.pth'
    path.write_bytes(whole[: int(part * len(whole))])
    refusal(path)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_never_crash_the_reading(
    data: st.DataObject, whole: bytes, tmp_path: Path
) -> None:
    content = bytearray(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        table = next(item for item in archive.infolist() if item.filename.endswith('data.pkl'))
    begin = data.draw(st.sampled_from([0, table.header_offset, len(whole) - 4000]))
    for _ in range(data.draw(st.integers(1, 8))):
        place = begin + data.draw(st.integers(0, 3999))
        content[place] = data.draw(st.integers(0, 255))
    survives(bytes(content), tmp_path / 'damaged.pth')


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_pickles_never_crash_the_reading(
    data: st.DataObject, whole: bytes, tmp_path: Path
) -> None:
    """With the archive's checksum made to fit, as an attacker would."""
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        pickled = bytearray(archive.read('whole/data.pkl')[:6000])
    for _ in range(data.draw(st.integers(1, 20))):
        pickled[data.draw(st.integers(0, len(pickled) - 1))] = data.draw(st.integers(0, 255))
    path = pickled_in_archive(tmp_path / 'damaged.pth', bytes(pickled), _0=bytes(64))
    with pytest.raises(Mast3rError):
        read_outline(path)


def test_a_changed_value_is_found_by_the_files_own_checksum(tmp_path: Path, whole: bytes) -> None:
    content = bytearray(whole)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        largest = max(archive.infolist(), key=lambda item: item.file_size)
    content[largest.header_offset + 2000] ^= 1
    path = tmp_path / 'damaged.pth'
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match='is damaged; fetch it again'):
        TorchArchive(path).verify()
    path.write_bytes(whole)
    TorchArchive(path).verify()


# --- safetensors ---------------------------------------------------------------------------------

TERA = 1 << 38  # values of four bytes
GOOD = {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}


@pytest.mark.parametrize(
    ('header', 'values', 'words'),
    [
        ({'a': {**GOOD, 'shape': [TERA], 'data_offsets': [0, 4 * TERA]}}, 8, 'does not fit'),
        ({'a': {**GOOD, 'shape': [TERA]}}, 8, 'does not fit'),
        ({'a': GOOD}, 4, 'does not fit'),
        ({'a': GOOD}, 12, 'the file has 12'),
        ({'a': GOOD, 'b': GOOD}, 16, 'overlap'),
        ({'a': {**GOOD, 'data_offsets': [4, 12]}}, 12, 'overlap or leave gaps'),
        ({'a': {**GOOD, 'dtype': 'Q99'}}, 8, 'unknown format'),
        ({'a': {**GOOD, 'shape': [-2]}}, 8, 'damaged'),
        ({'a': {**GOOD, 'shape': [1] * 40 + [2]}}, 8, 'damaged'),
        ({'a': {**GOOD, 'shape': ['2']}}, 8, 'damaged'),
        ({'a': {**GOOD, 'data_offsets': [0]}}, 8, 'damaged'),
        ({'a': 5}, 8, 'damaged'),
        ({}, 0, 'no weights'),
        ({'__metadata__': {'format': 'pt'}}, 0, 'no weights'),
        ({'a': GOOD}, 8, 'no network of the MASt3R family'),
    ],
)
def test_wrong_safetensors_are_refused(
    header: dict, values: int, words: str, tmp_path: Path
) -> None:
    path = write_safetensors(tmp_path / 'model.safetensors', header, bytes(values))
    assert words in refusal(path)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (b'\xff\xff\xff\xff\x00\x00\x00\x00{}', 'its header should have'),
        (b'\x04\x00\x00\x00\x00\x00\x00\x00{"a"', 'its header is damaged'),
        (b'\x10\x00\x00\x00\x00\x00\x00\x00{"a": {"dtype":', 'its header should have'),
    ],
)
def test_damaged_headers_are_refused(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / 'model.safetensors'
    path.write_bytes(content)
    assert words in refusal(path)


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.binary(max_size=200))
def test_any_header_is_survived(text: bytes, tmp_path: Path) -> None:
    path = tmp_path / 'model.safetensors'
    path.write_bytes(len(text).to_bytes(8, 'little') + b'{' + text)
    with pytest.raises(CheckpointError):
        read_outline(path)


@pytest.mark.parametrize('text', ['', 'no json', '[]', '{"a": 1}', '{"output_mode": "pts3d"}'])
def test_a_wrong_description_beside_safetensors_is_said(text: str, tmp_path: Path) -> None:
    safetensors = pytest.importorskip('safetensors.torch', reason='needs safetensors')
    path = tmp_path / 'model.safetensors'
    safetensors.save_file(golden_tensors(SMALL), path)
    (tmp_path / 'config.json').write_text(text)
    with pytest.raises(CheckpointError, match=r'config.json|model string'):
        read_checkpoint(path)


def test_a_description_with_a_call_in_it_is_refused(tmp_path: Path) -> None:
    safetensors = pytest.importorskip('safetensors.torch', reason='needs safetensors')
    path = tmp_path / 'model.safetensors'
    safetensors.save_file(golden_tensors(SMALL), path)
    values = json.loads(config_of(golden_case(SMALL)['model']))
    values['dec_depth'] = {'a': '__import__("os")'}
    (tmp_path / 'config.json').write_text(json.dumps(values))
    assert 'dec_depth' in refusal(path)
