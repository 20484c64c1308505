# SPDX-License-Identifier: Apache-2.0
"""mast3r-download fetches weights into one folder, records them and fetches nothing twice."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs torch')

from support.checkpoint_files import SMALL, config_of, golden_case, golden_tensors
from support.download_world import (
    HUGGING_FACE_NAME,
    NAME,
    VARIANT,
    error_of,
    fetch,
    leftovers,
)
from support.http_world import HttpWorld, Served

from mast3r_ros.choices import ModelVariant
from mast3r_ros.cli import download, info
from mast3r_ros.models import catalogue
from mast3r_ros.models.checkpoints import read_checkpoint


def test_a_file_is_fetched_checked_and_recorded(
    world: HttpWorld, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(world, tmp_path, '--json') == 0
    (report,) = json.loads(capsys.readouterr().out)
    assert report['path'] == str(tmp_path / NAME)
    assert report['fetched'] is True
    assert report['sha256'] == hashlib.sha256(content).hexdigest()
    assert (tmp_path / NAME).read_bytes() == content
    assert leftovers(tmp_path) == [NAME, 'records.json']
    record = json.loads((tmp_path / 'records.json').read_text())['files'][NAME]
    assert record['sha256'] == report['sha256']
    assert record['origin'] == f'{world.url}/{NAME}'
    assert read_checkpoint(tmp_path / NAME).architecture.family == 'dust3r'


def test_a_second_run_asks_the_network_nothing(world: HttpWorld, tmp_path: Path) -> None:
    assert fetch(world, tmp_path) == 0
    asked = len(world.asked)
    assert fetch(world, tmp_path) == 0
    assert len(world.asked) == asked


def test_a_file_that_changed_since_is_refused(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(world, tmp_path) == 0
    with (tmp_path / NAME).open('r+b') as file:
        file.seek(5000)
        file.write(b'changed')
    assert fetch(world, tmp_path) == 1
    assert 'is not what it was on' in error_of(capsys)


def test_a_file_placed_by_hand_is_checked_and_recorded(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / NAME).write_bytes(content)
    assert fetch(world, tmp_path, '--offline') == 0
    assert world.asked == []
    record = json.loads((tmp_path / 'records.json').read_text())['files'][NAME]
    assert record['sha256'] == hashlib.sha256(content).hexdigest()


def test_a_wrong_file_placed_by_hand_is_said_and_kept(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / NAME).write_bytes(b'my notes')
    assert fetch(world, tmp_path, '--offline') == 1
    assert 'no checkpoint' in error_of(capsys)
    assert (tmp_path / NAME).read_bytes() == b'my notes'


def test_offline_names_what_is_missing(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(world, tmp_path, '--offline') == 1
    sentence = error_of(capsys)
    assert NAME in sentence
    assert str(tmp_path) in sentence
    assert world.asked == []


def test_the_mirror_may_come_from_the_environment(
    world: HttpWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(download.MIRROR_VARIABLE, world.url + '/')
    words = ['--variant', VARIANT.value, '--cache-dir', str(tmp_path), '--accept-license']
    assert download.main(words) == 0
    assert (tmp_path / 'checkpoints' / NAME).is_file()
    assert catalogue.MODELS[VARIANT].paths(tmp_path)[0].is_file()


def test_safetensors_and_their_description_are_fetched_together(
    world: HttpWorld, tmp_path: Path
) -> None:
    safetensors = pytest.importorskip('safetensors.torch', reason='needs safetensors')
    weights = safetensors.save(golden_tensors(SMALL))
    world.files[f'/{HUGGING_FACE_NAME}/model.safetensors'] = Served(weights)
    text = config_of(golden_case(SMALL)['model'])
    world.files[f'/{HUGGING_FACE_NAME}/config.json'] = Served(text.encode())
    folder = tmp_path / 'checkpoints'
    assert fetch(world, folder, '--source', 'huggingface') == 0
    (path,) = catalogue.MODELS[VARIANT].paths(tmp_path)
    assert path == folder / HUGGING_FACE_NAME / 'model.safetensors'
    assert read_checkpoint(path).architecture.dec_heads == 3


def test_dune_is_not_on_hugging_face(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ['--source', 'huggingface', '--output', str(tmp_path), '--accept-license']
    assert download.main(words) == 1
    assert 'not published on Hugging Face' in error_of(capsys)


def test_the_list_needs_no_network_and_names_every_variant(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download.main(['--list', '--cache-dir', str(tmp_path), '--json']) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {row['variant'] for row in rows} == {variant.value for variant in ModelVariant}
    assert not any(row['here'] for row in rows)
    assert all(row['licences'] for row in rows)
    fetch(world, tmp_path / 'checkpoints')
    capsys.readouterr()
    assert download.main(['--list', '--cache-dir', str(tmp_path)]) == 0
    assert re.search(rf'^{VARIANT.value} +here ', capsys.readouterr().out, re.M)
    assert world.asked


def test_info_shows_what_is_there(
    world: HttpWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    fetch(world, tmp_path / 'mast3r_ros' / 'checkpoints')
    capsys.readouterr()
    assert info.main(['--json']) == 0
    assert json.loads(capsys.readouterr().out)['cache']['checkpoints'] == [VARIANT.value]


def test_a_variant_that_is_none_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        download.main(['--variant', '../../etc/passwd'])
    assert stop.value.code == 2
    assert 'dune_vit_small' in capsys.readouterr().err
