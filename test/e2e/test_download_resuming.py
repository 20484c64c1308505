# SPDX-License-Identifier: Apache-2.0
"""A transfer that broke off goes on where it was, unless the file may be another one by now."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs torch')

from support.download_world import NAME, command, error_of, fetch
from support.http_world import HttpWorld, Manner, Served


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


def test_a_file_without_announced_length_is_resumed(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    state = {'url': f'{world.url}/{NAME}', 'validator': '"one"', 'total': '0'}
    (tmp_path / f'{NAME}.part').write_bytes(content[:1_000_000])
    (tmp_path / f'{NAME}.part.json').write_text(json.dumps(state))
    assert fetch(world, tmp_path) == 0
    assert world.ranges() == ['bytes=1000000-']
    assert (tmp_path / NAME).read_bytes() == content


def test_a_resumed_transfer_keeps_its_range_over_a_redirect(
    world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    world.files['/elsewhere'] = Served(content)
    away = Manner(status=302, headers={'Location': '/elsewhere'})
    world.manners.extend([away, Manner(cut_at=1_000_000), away])
    assert fetch(world, tmp_path) == 0
    assert world.ranges() == ['', '', 'bytes=1000000-', 'bytes=1000000-']
    assert (tmp_path / NAME).read_bytes() == content


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
