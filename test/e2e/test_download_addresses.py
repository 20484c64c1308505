# SPDX-License-Identifier: Apache-2.0
"""Weights come from any of their addresses, over redirects too, but never from an unsafe one."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from urllib.request import Request

import pytest

pytest.importorskip('torch', reason='needs torch')

from support.download_world import (
    NAME,
    REAL,
    VARIANT,
    error_of,
    fetch,
    leftovers,
    small_model,
)
from support.http_world import HttpWorld, Manner, Served, http_world

from mast3r_ros.cli import download
from mast3r_ros.errors import DownloadError
from mast3r_ros.models import catalogue, http_requests


def fetch_from(addresses: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the command where the catalogue guesses that the file has these addresses."""
    model = small_model()
    file = replace(model.files[0], addresses=addresses, confirmed=False)
    monkeypatch.setitem(catalogue.MODELS, VARIANT, replace(model, files=(file,)))
    return download.main(['--variant', VARIANT.value, '--output', str(folder), '--accept-license'])


def test_the_next_address_is_tried_where_one_has_nothing(
    world: HttpWorld, tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    addresses = f'{world.url}/nowhere', f'{world.url}/{NAME}'
    assert fetch_from(addresses, tmp_path, monkeypatch) == 0
    assert (tmp_path / NAME).read_bytes() == content


def test_a_file_that_is_nowhere_says_where_to_look(
    world: HttpWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    addresses = f'{world.url}/nowhere', f'{world.url}/neither'
    assert fetch_from(addresses, tmp_path, monkeypatch) == 1
    sentence = error_of(capsys)
    assert 'a guess' in sentence
    assert REAL.publisher_page in sentence
    assert '--url' in sentence


def test_redirects_are_followed(world: HttpWorld, tmp_path: Path, content: bytes) -> None:
    world.files['/elsewhere'] = Served(content)
    for status in (301, 302, 307, 308):
        world.manners.append(Manner(status=status, headers={'Location': '/elsewhere'}))
        folder = tmp_path / str(status)
        assert fetch(world, folder) == 0
        assert (folder / NAME).read_bytes() == content


def test_a_redirect_to_another_server_asks_it_by_its_own_name(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    with http_world() as other:
        address = other.url.replace('127.0.0.1', 'localhost')
        other.files['/elsewhere'] = Served(content)
        away = Manner(status=302, headers={'Location': f'{address}/elsewhere'})
        world.manners.extend([away, away])
        other.manners.append(Manner(cut_at=1_000_000))
        assert fetch(world, tmp_path) == 0
        assert (tmp_path / NAME).read_bytes() == content
        assert {headers['host'] for _, headers in world.asked} == {world.url.partition('//')[2]}
        assert {headers['host'] for _, headers in other.asked} == {address.partition('//')[2]}
        assert other.ranges() == ['', 'bytes=1000000-']
        assert all('mast3r_ros' in headers['user-agent'] for _, headers in other.asked)


def test_a_chain_of_redirects_ends(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(8):
        world.manners.append(Manner(status=302, headers={'Location': f'/{number}'}))
    assert fetch(world, tmp_path) == 1
    assert 'redirects more than 5 times' in error_of(capsys)
    assert len(world.asked) == 6


@pytest.mark.parametrize(
    ('location', 'words'),
    [
        (f'/{NAME}', 'redirects in a circle'),
        ('http://example.invalid/a.pth', 'not encrypted'),
        ('file:///etc/passwd', 'what cannot be fetched'),
        ('ftp://example.invalid/a.pth', 'ftp'),
    ],
)
def test_redirects_that_lead_astray_are_refused(
    location: str,
    words: str,
    world: HttpWorld,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    world.always = Manner(status=302, headers={'Location': location})
    assert fetch(world, tmp_path, '--retries', '0') == 1
    assert words in error_of(capsys)
    assert leftovers(tmp_path) == ['records.json']


def test_an_encrypted_address_never_leads_to_an_unencrypted_one() -> None:
    first = 'https://mirror.example/a.pth'
    redirects = http_requests._Redirects(first, allow_http=True)
    with pytest.raises(DownloadError, match='which is not https'):
        redirects.redirect_request(
            Request(first), io.BytesIO(), 302, 'Found', {}, 'http://127.0.0.1/a.pth'
        )


@pytest.mark.parametrize(
    ('url', 'words'),
    [
        ('http://mirror.invalid/models', 'not encrypted'),
        ('ftp://mirror.invalid/models', 'only https:'),
        ('file:///tmp', 'is no address'),
        ('mirror', 'is no address'),
        ('https://me:secret@mirror.invalid/', 'user name'),
        ('https://mirror.invalid:99999/', 'is no address'),
        ('https://mirror.invalid/\r\nX: y', 'is no address'),
    ],
)
def test_addresses_that_cannot_be_asked_are_said(
    url: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words_given = ['--variant', VARIANT.value, '--output', str(tmp_path), '--accept-license']
    assert download.main([*words_given, '--url', url]) == 1
    sentence = error_of(capsys)
    assert words in sentence
    assert 'secret' not in sentence
