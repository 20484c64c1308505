# SPDX-License-Identifier: Apache-2.0
"""A disk or a folder that is not as it should be is said, and no file of the user is spoilt."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip('torch', reason='needs torch')

from support.download_world import NAME, error_of, fetch, leftovers
from support.http_world import HttpWorld, Manner

from mast3r_ros.models import part_file


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
