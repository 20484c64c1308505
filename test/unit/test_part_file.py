# SPDX-License-Identifier: Apache-2.0
"""What is being fetched belongs to one process, from its first byte until it has its name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from mast3r_ros.errors import DownloadError
from mast3r_ros.models import part_file
from mast3r_ros.models.part_file import PartFile

pytest.importorskip('fcntl')


@pytest.mark.parametrize('how', [PartFile.finish, PartFile.discard])
def test_a_part_is_locked_for_as_long_as_it_is_there(
    how: Callable[[PartFile], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = PartFile(tmp_path / 'weights')
    part.write(b'whole')
    tried = []

    def refused_during(step: Callable[..., Any]) -> Callable[..., Any]:
        def then(path: Path, *arguments: Any, **options: Any) -> Any:
            if path == part.path:
                tried.append(step)
                with pytest.raises(DownloadError, match='is being fetched by another process'):
                    PartFile(tmp_path / 'weights')
            return step(path, *arguments, **options)

        return then

    monkeypatch.setattr(os, 'replace', refused_during(os.replace))
    monkeypatch.setattr(Path, 'unlink', refused_during(Path.unlink))
    how(part)
    assert len(tried) == 1
    assert [path.name for path in tmp_path.iterdir()] == (
        ['weights'] if how is PartFile.finish else []
    )


@pytest.mark.parametrize('how', [PartFile.finish, PartFile.discard])
def test_what_another_process_finished_meanwhile_is_not_written_into(
    how: Callable[[PartFile], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = PartFile(tmp_path / 'weights')
    first.write(b'whole')
    lock = part_file._lock

    def late_lock(file: BinaryIO, path: Path) -> None:
        """Come just after the other process has let go of what was opened."""
        if not first._file.closed:
            how(first)
        lock(file, path)

    monkeypatch.setattr(part_file, '_lock', late_lock)
    with PartFile(tmp_path / 'weights') as second:
        second.write(b'other bytes')
        assert second.path.read_bytes() == b'other bytes'
    if how is PartFile.finish:
        assert (tmp_path / 'weights').read_bytes() == b'whole'
