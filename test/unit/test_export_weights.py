# SPDX-License-Identifier: Apache-2.0
"""The one file of weights: every tensor once, where it can be mapped, and never another's."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from mast3r_ros.errors import ModelError
from mast3r_ros.export.weight_store import Place, WeightStore


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / 'weights.data'


def test_a_tensor_lies_where_the_file_says(path: Path) -> None:
    small = np.arange(5, dtype=np.float32)
    large = np.arange(1 << 18, dtype=np.float32)
    with WeightStore(path) as store:
        places = [store.put('small', small), store.put('large', large), store.put('end', small)]
    content = path.read_bytes()
    for place, values in zip(places, (small, large, small), strict=True):
        assert content[place.offset : place.offset + place.length] == values.tobytes()


def test_tensors_begin_at_cache_lines_and_large_ones_at_pages(path: Path) -> None:
    with WeightStore(path) as store:
        odd = [store.put(f'odd{size}', np.ones(size, np.int8)) for size in (1, 63, 64, 65)]
        large = store.put('large', np.ones(1 << 20, np.int8))
    assert [place.offset % 64 for place in odd] == [0, 0, 0, 0]
    assert large.offset % 4096 == 0


def test_the_same_tensor_of_another_size_is_not_written_again(path: Path) -> None:
    values = np.arange(1000, dtype=np.float32)
    with WeightStore(path) as store:
        first = store.put('weight', values)
        size = store.size
        assert store.put('weight', values.copy()) == first
        assert store.size == size


@pytest.mark.parametrize('change', ['value', 'length'])
def test_another_tensor_of_the_same_name_is_refused(change: str, path: Path) -> None:
    values = np.arange(1000, dtype=np.float32)
    other = values[:-1] if change == 'length' else np.where(values == 999, 0, values)
    with WeightStore(path) as store:
        store.put('weight', values)
        with pytest.raises(ModelError, match='other values under weight'):
            store.put('weight', other.astype(np.float32))


def test_a_difference_in_the_last_byte_of_a_large_tensor_is_seen(path: Path) -> None:
    values = np.zeros((17 << 20) + 3, np.uint8)
    with WeightStore(path) as store:
        store.put('weight', values)
        values[-1] = 1
        with pytest.raises(ModelError, match='weight'):
            store.put('weight', values)


def test_a_complete_file_takes_nothing_new(path: Path) -> None:
    values = np.arange(4, dtype=np.float32)
    path.write_bytes(values.tobytes())
    with WeightStore(path, {'weight': Place(0, 16)}) as store:
        assert store.put('weight', values) == Place(0, 16)
        with pytest.raises(ModelError, match='lacks another'):
            store.put('another', values)
    assert path.read_bytes() == values.tobytes()


def test_the_digest_is_that_of_the_whole_file(path: Path) -> None:
    with WeightStore(path) as store:
        for size in (3, 100, 70_000):
            store.put(f'weight{size}', np.arange(size, dtype=np.float32))
        store.sync()
        digest = store.sha256()
        places = store.places
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    with WeightStore(path, places) as complete:
        assert complete.sha256() == digest


def test_a_file_that_is_there_is_not_written_over(path: Path) -> None:
    path.write_bytes(b'somebody else')
    with pytest.raises(FileExistsError):
        WeightStore(path)


def test_a_tensor_that_is_no_block_of_memory_is_written_in_its_order(path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(3, 4).T
    with WeightStore(path) as store:
        store.put('weight', values)
    assert np.array_equal(np.fromfile(path, np.float32).reshape(4, 3), values)
