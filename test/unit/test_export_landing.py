# SPDX-License-Identifier: Apache-2.0
"""A folder takes another's place whole, also when it is stopped between the two steps."""

from __future__ import annotations

from pathlib import Path

import pytest

from mast3r_ros.export.landing import (
    added_files,
    finish_files,
    land,
    new_folder,
    unfinished_name,
)


def filled(folder: Path, word: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / 'model').write_text(word)
    return folder


def replace(target: Path) -> None:
    with new_folder(target) as folder:
        land(filled(folder, 'new'), target)


@pytest.mark.parametrize('error', [KeyboardInterrupt, OSError])
def test_what_was_there_comes_back_if_landing_fails(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = filled(tmp_path / 'target', 'old')
    real = Path.rename

    def rename(path: Path, other: Path) -> Path:
        if path.name.endswith('unfinished'):
            raise error
        return real(path, other)

    monkeypatch.setattr(Path, 'rename', rename)
    with pytest.raises(error):
        replace(target)
    assert (target / 'model').read_text() == 'old'
    assert list(tmp_path.iterdir()) == [target]


def test_a_new_folder_replaces_the_old_one(tmp_path: Path) -> None:
    target = filled(tmp_path / 'target', 'old')
    replace(target)
    assert (target / 'model').read_text() == 'new'
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize('there', [True, False])
def test_a_link_keeps_leading_to_the_model_however_often_it_is_replaced(
    there: bool, tmp_path: Path
) -> None:
    (tmp_path / 'other disk').mkdir()
    real = tmp_path / 'other disk' / 'model'
    if there:
        filled(real, 'old')
    link = tmp_path / 'target'
    link.symlink_to(real)
    for _ in range(2):
        replace(link)
        assert link.is_symlink()
        assert (real / 'model').read_text() == 'new'
    assert sorted(tmp_path.iterdir()) == [real.parent, link]
    assert list(real.parent.iterdir()) == [real]


def test_what_is_not_landed_goes(tmp_path: Path) -> None:
    with new_folder(tmp_path / 'deep' / 'target') as folder:
        filled(folder, 'new')
    assert list((tmp_path / 'deep').iterdir()) == []


def test_files_get_their_names_when_they_are_finished(tmp_path: Path) -> None:
    path = tmp_path / 'graph.onnx'
    unfinished_name(path).write_text('new')
    assert not list(tmp_path.glob('*.onnx'))
    finish_files([path])
    assert path.read_text() == 'new'
    finish_files([])


def test_what_a_killed_export_left_goes_files_and_folders_alike(tmp_path: Path) -> None:
    (unfinished_name(tmp_path / 'graph')).touch()
    filled(unfinished_name(tmp_path / 'packages'), 'half')
    with added_files(tmp_path):
        assert list(tmp_path.iterdir()) == []
