# SPDX-License-Identifier: Apache-2.0
"""What is remembered beside the checkpoints is kept, and a changed file is noticed."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.checkpoint_records import CheckpointRecords, verify_recorded
from mast3r_ros.models.weights_file import WeightsSource, sha256_of


def test_records_that_are_written_at_the_same_time_are_all_kept(tmp_path: Path) -> None:
    names = [f'licence {number}' for number in range(64)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: CheckpointRecords(tmp_path).accept(name), names))
    records = CheckpointRecords(tmp_path)
    assert [name for name in names if not records.accepted(name)] == []
    assert [path.name for path in tmp_path.iterdir()] == ['records.json']


@pytest.mark.parametrize('name', ['a.pth', 'a_network/model.safetensors'])
def test_a_file_that_changed_since_it_was_recorded_is_refused(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'weights')
    CheckpointRecords(tmp_path).remember(name, sha256_of(path), 'a server')
    verify_recorded(WeightsSource(path))
    path.write_bytes(b'w3ights')
    with pytest.raises(CheckpointError, match=f'{name} is not what it was on .* fetch it again'):
        verify_recorded(WeightsSource(path))


def test_a_file_without_record_is_taken(tmp_path: Path) -> None:
    path = tmp_path / 'a.pth'
    path.write_bytes(b'weights')
    verify_recorded(WeightsSource(path))
    CheckpointRecords(tmp_path).accept('a licence')
    verify_recorded(WeightsSource(path))
