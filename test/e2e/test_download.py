# SPDX-License-Identifier: Apache-2.0
"""Weights are fetched whole or not at all, into one folder, and only with their licence."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip('torch')

from support.checkpoint_files import (  # noqa: E402  # it needs PyTorch
    SMALL,
    config_of,
    golden_case,
    golden_tensors,
    save_published,
)
from support.download_world import (  # noqa: E402
    HUGGING_FACE_NAME,
    NAME,
    REAL,
    VARIANT,
    command,
    download_world,
    error_of,
    fetch,
    leftovers,
    small_model,
)
from support.http_world import HttpWorld, Manner, Served  # noqa: E402

from mast3r_ros.choices import ModelVariant  # noqa: E402
from mast3r_ros.cli import download, info  # noqa: E402
from mast3r_ros.models import catalogue, part_file  # noqa: E402
from mast3r_ros.models.checkpoints import read_checkpoint  # noqa: E402


@pytest.fixture(scope='module')
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save_published(tmp_path_factory.mktemp('published') / 'a.pth', SMALL).read_bytes()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, content: bytes) -> Iterator[HttpWorld]:
    with download_world(monkeypatch, content) as server:
        yield server


# --- The plain way -------------------------------------------------------------------------------


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


# --- The licence ---------------------------------------------------------------------------------


def without_accepting(world: HttpWorld, folder: Path) -> int:
    return download.main(['--variant', VARIANT.value, '--output', str(folder), '--url', world.url])


def test_without_terminal_and_acceptance_nothing_is_fetched(
    world: HttpWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, 'stdin', nothing)
        assert without_accepting(world, tmp_path) == 1
    shown = capsys.readouterr().err
    assert '--accept-license' in shown
    assert 'Non-commercial' in shown
    assert REAL.licences[0].url in shown
    assert world.asked == []
    assert leftovers(tmp_path) == []


def test_an_accepted_licence_is_remembered(world: HttpWorld, tmp_path: Path) -> None:
    assert fetch(world, tmp_path) == 0
    (tmp_path / NAME).unlink()
    assert without_accepting(world, tmp_path) == 0


def test_the_next_command_finds_the_weights_where_they_were_put(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = f'next: mast3r-export --variant {VARIANT.value}'
    folder = tmp_path / 'my weights'
    assert fetch(world, folder) == 0
    assert f"{export} --checkpoint '{folder / NAME}' (" in capsys.readouterr().out
    words = ['--variant', VARIANT.value, '--url', world.url, '--accept-license']
    assert download.main([*words, '--cache-dir', str(tmp_path)]) == 0
    assert f'{export} --cache-dir {tmp_path} (' in capsys.readouterr().out


def test_a_licence_that_is_accepted_beforehand_is_shown_in_a_line(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(world, tmp_path) == 0
    (licence,) = REAL.licences
    shown = capsys.readouterr().err.splitlines()
    (line,) = [line for line in shown if licence.name in line]
    assert licence.notice in line
    assert licence.url in line


@pytest.mark.parametrize(
    ('answer', 'code'), [('y', 0), ('yes', 0), ('n', 1), ('', 1), ('what', 1)]
)
def test_on_a_terminal_the_licence_is_asked_about(
    answer: str, code: int, world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    """On a real terminal, with the command in a process of its own."""
    import pty

    ours, theirs = pty.openpty()
    os.write(ours, f'{answer}\n'.encode())
    process = subprocess.Popen(
        command(world, tmp_path / 'checkpoints', accept=False),
        stdin=theirs,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _, shown = process.communicate()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code
    assert 'Do you accept this licence? [y/N]' in shown
    assert bool(world.asked) == (code == 0)


# --- The disk ------------------------------------------------------------------------------------


def test_a_disk_without_room_is_said_before_anything_is_fetched(
    world: HttpWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(part_file.PartFile, 'free_bytes', lambda self: 1_000_000)
    assert fetch(world, tmp_path) == 1
    sentence = error_of(capsys)
    assert '1.0 MB free' in sentence
    assert '--cache-dir' in sentence
    assert leftovers(tmp_path) == ['records.json']


def test_a_disk_that_fills_up_keeps_the_part_and_resumes(
    world: HttpWorld,
    tmp_path: Path,
    content: bytes,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The system itself refuses: a limit on the size of files stands for the full disk."""
    resource = pytest.importorskip('resource')
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, limits[1]))
    try:
        assert fetch(world, tmp_path) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, before)
    assert 'is full (File too large); make room, then the same command resumes' in error_of(capsys)
    come = (tmp_path / f'{NAME}.part').stat().st_size
    assert 0 < come <= 2_000_000
    assert fetch(world, tmp_path) == 0
    assert world.ranges()[-1] == f'bytes={come}-'
    assert (tmp_path / NAME).read_bytes() == content


def test_a_disk_that_takes_less_than_all_is_given_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Sluggish:
        def __init__(self, file: Any) -> None:
            self.file = file

        def __getattr__(self, name: str) -> Any:
            return getattr(self.file, name)

        def write(self, block: memoryview) -> int:
            return int(self.file.write(block[:1000]))

    with part_file.PartFile(tmp_path / 'a') as part:
        monkeypatch.setattr(part, '_file', Sluggish(part._file))
        part.write(bytes(range(250)) * 10)
        assert part.path.read_bytes() == bytes(range(250)) * 10


def test_a_folder_that_cannot_be_made_is_said(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'file').write_text('')
    assert fetch(world, tmp_path / 'file' / 'checkpoints') == 1
    assert str(tmp_path / 'file') in error_of(capsys)


def test_damaged_records_are_said(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / 'records.json').write_text('{"format": 99}')
    assert fetch(world, tmp_path) == 1
    assert 'records.json is damaged' in error_of(capsys)


def test_two_at_once_do_not_write_into_one_file(
    world: HttpWorld, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    world.manners.append(Manner(stall_at=100_000))
    first = threading.Thread(target=fetch, args=(world, tmp_path, '--timeout', '2'))
    first.start()
    assert world.stalled.wait(30)
    assert fetch(world, tmp_path) == 1
    first.join()
    assert 'is being fetched by another process' in error_of(capsys)
    assert (tmp_path / NAME).read_bytes() == content


# --- Stopping ------------------------------------------------------------------------------------


def test_ctrl_c_keeps_what_has_come_and_says_how_to_go_on(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    world.manners.append(Manner(stall_at=1_000_000))
    process = subprocess.Popen(
        command(world, tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert world.stalled.wait(60)
    part = tmp_path / f'{NAME}.part'
    while not part.exists() or part.stat().st_size < 1_000_000:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate()
    assert process.returncode == 130
    assert 'the same command goes on where this one was' in shown
    assert 'Traceback' not in shown
    assert subprocess.run(command(world, tmp_path), capture_output=True).returncode == 0
    assert world.ranges() == ['', 'bytes=1000000-']
    assert (tmp_path / NAME).read_bytes() == content


def test_what_had_come_whole_is_not_fetched_again(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / f'{NAME}.part').write_bytes(content)
    state = {'url': f'{world.url}/{NAME}', 'validator': '"one"', 'total': str(len(content))}
    (tmp_path / f'{NAME}.part.json').write_text(json.dumps(state))
    assert fetch(world, tmp_path) == 0
    assert world.asked == []
    assert (tmp_path / NAME).read_bytes() == content


# --- Where a file is published -------------------------------------------------------------------


def test_the_next_address_is_tried_where_one_has_nothing(
    world: HttpWorld, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = small_model()
    addresses = (f'{world.url}/nowhere', f'{world.url}/{NAME}')
    file = replace(model.files[0], addresses=addresses, confirmed=False)
    monkeypatch.setitem(catalogue.MODELS, VARIANT, replace(model, files=(file,)))
    words = ['--variant', VARIANT.value, '--output', str(tmp_path), '--accept-license']
    assert download.main(words) == 0
    assert (tmp_path / NAME).read_bytes() == content


def test_a_file_that_is_nowhere_says_where_to_look(
    world: HttpWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = small_model()
    addresses = (f'{world.url}/nowhere', f'{world.url}/neither')
    file = replace(model.files[0], addresses=addresses, confirmed=False)
    monkeypatch.setitem(catalogue.MODELS, VARIANT, replace(model, files=(file,)))
    words = ['--variant', VARIANT.value, '--output', str(tmp_path), '--accept-license']
    assert download.main(words) == 1
    sentence = error_of(capsys)
    assert 'a guess' in sentence
    assert model.publisher_page in sentence
    assert '--url' in sentence
