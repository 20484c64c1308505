# SPDX-License-Identifier: Apache-2.0
"""What a server does wrong is said in one sentence, and nothing wrong that it sends is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs torch')

from support.checkpoint_files import save_dune_encoder
from support.download_world import (
    NAME,
    VARIANT,
    error_of,
    fetch,
    leftovers,
    small_model,
)
from support.http_world import HttpWorld, Manner, Served

from mast3r_ros.cli import download
from mast3r_ros.models import catalogue, transfer


@pytest.mark.parametrize('status', [500, 502, 503, 429])
def test_a_busy_server_is_asked_again(status: int, world: HttpWorld, tmp_path: Path) -> None:
    world.manners.extend([Manner(status=status)] * 2)
    assert fetch(world, tmp_path) == 0
    assert len(world.asked) == 3


@pytest.mark.parametrize(
    ('manner', 'words'),
    [
        (Manner(status=404), 'the mirror has no'),
        (Manner(status=403), 'answers 403 (Forbidden)'),
        (Manner(status=401), 'log-in'),
        (Manner(status=400), 'answers 400'),
        (Manner(status=500), 'answers 500'),
        (Manner(status=204), 'answers 204'),
        (Manner(status=200, body=b'<!DOCTYPE html><html>Log in</html>'), 'web page'),
        (Manner(status=200, body=b''), 'empty'),
        (Manner(status=200, body=b'PK\x03\x04' + bytes(5000)), 'cut off or damaged'),
        (Manner(headers={'Content-Encoding': 'gzip'}), 'comes encoded'),
        (Manner(length_lie=-1000), 'cut off or damaged'),
        (Manner(length_lie=1000), 'broke off at 4.2 MB of 4.2 MB'),
        (Manner(headers={'Content-Length': str(1 << 40)}), 'it is not the same'),
        (Manner(headers={'Content-Length': ''}, cut_at=2_000_000), 'cut off or damaged'),
    ],
)
def test_what_a_server_does_wrong_is_said(
    manner: Manner,
    words: str,
    world: HttpWorld,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.always = manner
    assert fetch(world, tmp_path, '--retries', '1') == 1
    assert words in error_of(capsys)
    assert not (tmp_path / NAME).exists()


def test_another_attempt_says_why(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world.manners.append(Manner(status=503))
    assert fetch(world, tmp_path) == 0
    assert 'answers 503 (Service Unavailable); trying again' in capsys.readouterr().err


def test_a_file_without_announced_length_is_fetched(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    world.manners.append(Manner(headers={'Content-Length': ''}))
    assert fetch(world, tmp_path) == 0
    assert (tmp_path / NAME).read_bytes() == content


def test_a_server_without_end_is_stopped(
    world: HttpWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(transfer, '_SPARE_BYTES', 0)
    world.files[f'/{NAME}'] = Served(bytes(20_000_000))
    world.always = Manner(headers={'Content-Length': ''})
    assert fetch(world, tmp_path) == 1
    assert 'sends more than it said' in error_of(capsys)
    assert leftovers(tmp_path) == ['records.json']


def test_a_file_of_another_network_is_refused_and_forgotten(
    world: HttpWorld,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = save_dune_encoder(tmp_path_factory.mktemp('other') / 'encoder.pth')
    world.files[f'/{NAME}'] = Served(other.read_bytes())
    assert fetch(world, tmp_path) == 1
    assert f'is not {NAME}' in error_of(capsys)
    assert leftovers(tmp_path) == ['records.json']


def test_the_same_network_in_another_size_is_refused(
    world: HttpWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = small_model()
    model = replace(model, dimensions={**model.dimensions, 'enc_depth': 24})
    monkeypatch.setitem(catalogue.MODELS, VARIANT, model)
    assert fetch(world, tmp_path) == 1
    assert 'enc_depth 2 instead of 24' in error_of(capsys)


def test_a_damaged_transfer_is_found_by_the_files_own_checksums(
    world: HttpWorld, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = bytearray(content)
    damaged[2_000_000] ^= 1
    world.files[f'/{NAME}'] = Served(bytes(damaged))
    assert fetch(world, tmp_path) == 1
    assert 'is damaged; fetch it again' in error_of(capsys)
    assert leftovers(tmp_path) == ['records.json']


def test_an_unreachable_server_is_said(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['--variant', VARIANT.value, '--output', str(tmp_path), '--accept-license']
    words += ['--url', 'http://127.0.0.1:1', '--retries', '1']
    assert download.main(words) == 1
    sentence = error_of(capsys)
    assert '127.0.0.1 cannot be reached' in sentence
    assert sentence.endswith('the same command tries again')


@pytest.mark.parametrize('header', ['attachment; filename="../../evil.pth"', 'filename=/evil'])
def test_no_server_chooses_the_name_of_a_file(
    header: str, world: HttpWorld, tmp_path: Path
) -> None:
    folder = tmp_path / 'a' / 'b'
    world.always = Manner(headers={'Content-Disposition': header})
    assert fetch(world, folder) == 0
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.*'))
    assert written == [f'a/b/{NAME}', 'a/b/records.json']
