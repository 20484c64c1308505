# SPDX-License-Identifier: Apache-2.0
"""No broken network and no strange server makes mast3r-download write a wrong file."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.request import Request

import pytest

torch = pytest.importorskip('torch')

from support.checkpoint_files import (  # noqa: E402  # it needs PyTorch
    SMALL,
    save_dune_encoder,
    save_published,
)
from support.download_world import (  # noqa: E402
    NAME,
    VARIANT,
    download_world,
    error_of,
    fetch,
    leftovers,
    small_model,
)
from support.http_world import HttpWorld, Manner, Served, http_world  # noqa: E402

from mast3r_ros.cli import download  # noqa: E402
from mast3r_ros.errors import DownloadError  # noqa: E402
from mast3r_ros.models import catalogue, http_requests, transfer  # noqa: E402


@pytest.fixture(scope='module')
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return save_published(tmp_path_factory.mktemp('published') / 'a.pth', SMALL).read_bytes()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, content: bytes) -> Iterator[HttpWorld]:
    with download_world(monkeypatch, content) as server:
        yield server


# --- Broken networks -----------------------------------------------------------------------------


def test_a_cut_transfer_goes_on_where_it_was(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    world.manners.extend([Manner(cut_at=1_000_000), Manner(cut_at=1_500_000), Manner(cut_at=0)])
    assert fetch(world, tmp_path) == 0
    assert (tmp_path / NAME).read_bytes() == content
    assert world.ranges() == ['', 'bytes=1000000-', 'bytes=2500000-', 'bytes=2500000-']
    assert world.asked[1][1]['if-range'] == '"one"'


def test_a_server_that_always_breaks_off_is_given_up_and_resumed_later(
    world: HttpWorld, tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    world.manners.append(Manner(cut_at=700_000))
    world.always = Manner(cut_at=0)
    assert fetch(world, tmp_path, '--retries', '2') == 1
    assert 'the same command resumes at 0.7 MB' in error_of(capsys)
    assert len(world.asked) == 1 + 3
    assert not (tmp_path / NAME).exists()
    world.always = None
    assert fetch(world, tmp_path) == 0
    assert world.ranges()[-1] == 'bytes=700000-'
    assert (tmp_path / NAME).read_bytes() == content


def test_a_stall_is_noticed_and_resumed(world: HttpWorld, tmp_path: Path, content: bytes) -> None:
    world.manners.append(Manner(stall_at=300_000))
    assert fetch(world, tmp_path, '--timeout', '0.3') == 0
    assert world.ranges() == ['', 'bytes=300000-']
    assert (tmp_path / NAME).read_bytes() == content


def test_a_server_that_ignores_ranges_is_fetched_anew(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    world.manners.extend([Manner(cut_at=900_000), Manner(ignores_range=True)])
    assert fetch(world, tmp_path) == 0
    assert (tmp_path / NAME).read_bytes() == content


def test_a_server_that_ignores_ranges_and_cuts_for_ever_is_given_up(
    world: HttpWorld, tmp_path: Path
) -> None:
    world.always = Manner(cut_at=900_000, ignores_range=True)
    assert fetch(world, tmp_path, '--retries', '2') == 1
    assert len(world.asked) == 4


def test_a_file_that_changes_between_attempts_is_never_mixed(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    old = b'PK\x03\x04' + bytes(len(content) - 4)
    world.files[f'/{NAME}'] = Served(old, '"old"')
    world.manners.append(Manner(cut_at=2_000_000))
    world.always = Manner(cut_at=0)
    assert fetch(world, tmp_path, '--retries', '0') == 1
    world.always = None
    world.files[f'/{NAME}'] = Served(content, '"new"')
    assert fetch(world, tmp_path) == 0
    assert (tmp_path / NAME).read_bytes() == content


def test_a_server_that_resumes_a_changed_file_is_not_believed(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    """Some servers answer If-Range with the rest of a file that is another one by now."""
    world.manners.extend(
        [
            Manner(cut_at=1_000_000, headers={'ETag': '"old"'}),
            Manner(
                status=206,
                body=bytes(len(content) - 1_000_000),
                headers={
                    'ETag': '"new"',
                    'Content-Range': f'bytes 1000000-{len(content) - 1}/{len(content)}',
                },
            ),
        ]
    )
    assert fetch(world, tmp_path) == 0
    assert (tmp_path / NAME).read_bytes() == content
    assert world.ranges() == ['', 'bytes=1000000-', '']


def test_without_a_validator_nothing_is_resumed(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    world.manners.append(Manner(cut_at=1_000_000, headers={'ETag': ''}))
    assert fetch(world, tmp_path) == 0
    assert world.ranges() == ['', '']
    assert (tmp_path / NAME).read_bytes() == content


def test_a_part_of_another_address_is_not_continued(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / f'{NAME}.part').write_bytes(b'x' * 1000)
    state = {'url': 'https://else.where/a.pth', 'validator': '"one"', 'total': str(len(content))}
    (tmp_path / f'{NAME}.part.json').write_text(json.dumps(state))
    assert fetch(world, tmp_path) == 0
    assert world.ranges() == ['']
    assert (tmp_path / NAME).read_bytes() == content


def test_a_part_longer_than_the_file_starts_anew(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    (tmp_path / f'{NAME}.part').write_bytes(bytes(len(content) + 10))
    state = {'url': f'{world.url}/{NAME}', 'validator': '"one"', 'total': '5'}
    (tmp_path / f'{NAME}.part.json').write_text(json.dumps(state))
    assert fetch(world, tmp_path) == 0
    assert (tmp_path / NAME).read_bytes() == content


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


def test_a_file_without_announced_length_is_resumed(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    state = {'url': f'{world.url}/{NAME}', 'validator': '"one"', 'total': '0'}
    (tmp_path / f'{NAME}.part').write_bytes(content[:1_000_000])
    (tmp_path / f'{NAME}.part.json').write_text(json.dumps(state))
    assert fetch(world, tmp_path) == 0
    assert world.ranges() == ['bytes=1000000-']
    assert (tmp_path / NAME).read_bytes() == content


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


# --- Redirects and addresses ---------------------------------------------------------------------


def test_redirects_are_followed(world: HttpWorld, tmp_path: Path, content: bytes) -> None:
    world.files['/elsewhere'] = Served(content)
    for status in (301, 302, 307, 308):
        world.manners.append(Manner(status=status, headers={'Location': '/elsewhere'}))
        folder = tmp_path / str(status)
        assert fetch(world, folder) == 0
        assert (folder / NAME).read_bytes() == content


def test_a_resumed_transfer_keeps_its_range_over_a_redirect(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    world.files['/elsewhere'] = Served(content)
    away = Manner(status=302, headers={'Location': '/elsewhere'})
    world.manners.extend([away, Manner(cut_at=1_000_000), away])
    assert fetch(world, tmp_path) == 0
    assert world.ranges() == ['', '', 'bytes=1000000-', 'bytes=1000000-']
    assert (tmp_path / NAME).read_bytes() == content


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


@pytest.mark.parametrize('header', ['attachment; filename="../../evil.pth"', 'filename=/evil'])
def test_no_server_chooses_the_name_of_a_file(
    header: str, world: HttpWorld, tmp_path: Path
) -> None:
    folder = tmp_path / 'a' / 'b'
    world.always = Manner(headers={'Content-Disposition': header})
    assert fetch(world, folder) == 0
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob('*.*'))
    assert written == [f'a/b/{NAME}', 'a/b/records.json']


def test_a_variant_that_is_none_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        download.main(['--variant', '../../etc/passwd'])
    assert stop.value.code == 2
    assert 'dune_vit_small' in capsys.readouterr().err


def test_a_link_in_the_place_of_the_part_is_not_followed(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = tmp_path / 'outside'
    outside.write_text('mine')
    folder = tmp_path / 'folder'
    folder.mkdir()
    (folder / f'{NAME}.part').symlink_to(outside)
    assert fetch(world, folder) == 1
    assert 'cannot be written' in error_of(capsys)
    assert outside.read_text() == 'mine'
