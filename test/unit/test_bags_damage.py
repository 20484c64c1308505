# SPDX-License-Identifier: Apache-2.0
"""Damaged bags: cut off or overwritten anywhere, the rest is read and the damage is said."""

from __future__ import annotations

import random
import shutil
import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip('rosbags', reason='needs rosbags')

from support import bag_files, mcap_files

from mast3r_ros.bags.bag import Bag
from mast3r_ros.bags.recorded import UnreadableBag

TOPICS = ['/a', '/b']
RANDOM = random.Random(0)
GROUPS = [
    [
        (RANDOM.choice(TOPICS), 10 * place + n, RANDOM.randbytes(RANDOM.randint(4, 200)))
        for n in range(4)
    ]
    for place in range(10)
]
MESSAGES = [message for group in GROUPS for message in group]
FILES = {
    compression: mcap_files.chunked(GROUPS, TOPICS, compression=compression)
    for compression in ('', 'lz4')
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp('damaged')


@pytest.fixture(scope='module')
def database(tmp_path_factory):
    """The path of a whole file."""
    plan = bag_files.stereo_plan(6)
    return plan.write(tmp_path_factory.mktemp('sqlite') / 'bag', 'sqlite3') / 'bag.db3'


def read(folder, name, data):
    """Return the messages of a file, or None where it is refused, and what was said."""
    path, said = folder / name, []
    path.write_bytes(data)
    try:
        with Bag(path, said.append) as bag:
            found = bag.messages(bag.topics)
            return [(item.topic, item.time_ns, item.data) for item in found], said
    except UnreadableBag as error:
        return None, [str(error)]


def overwritten(data, at, garbage):
    return (data[:at] + garbage + data[at + len(garbage) :])[: len(data)]


@given(compression=st.sampled_from(['', 'lz4']), share=st.floats(0, 0.999))
def test_an_mcap_file_that_is_cut_off_gives_all_before_the_cut(folder, compression, share):
    data = FILES[compression]
    found, said = read(folder, 'cut.mcap', data[: int(share * len(data))])
    assert said
    assert found is None or found == MESSAGES[: len(found)]


def test_of_a_cut_off_chunk_the_whole_messages_are_read(folder):
    data = FILES['']
    whole = data.index(MESSAGES[38][2]) + len(MESSAGES[38][2])  # the last but one
    found, said = read(folder, 'cut.mcap', data[: whole + 10])
    assert found == MESSAGES[:39]
    assert any('chunk' in sentence and 'beginning' in sentence for sentence in said)


@given(
    compression=st.sampled_from(['', 'lz4']),
    share=st.floats(0.25, 0.9),
    garbage=st.binary(min_size=1, max_size=300),
)
def test_garbage_in_an_mcap_file_costs_only_the_chunks_it_lies_in(
    folder, compression, share, garbage
):
    data = FILES[compression]
    at = int(share * len(data))
    found, said = read(folder, 'garbage.mcap', overwritten(data, at, garbage))
    assert found is not None
    assert [item for item in found if item not in MESSAGES] == []
    # A chunk takes several hundred bytes, so 300 bytes of garbage lie in three at most.
    assert len(found) >= len(MESSAGES) - 3 * 4
    assert said


def test_garbage_in_a_file_with_an_index_leaves_the_other_chunks_alone(tmp_path):
    path = bag_files.stereo_plan(60).write(tmp_path / 'bag') / 'bag.mcap'
    whole, _ = read(tmp_path, 'whole.mcap', path.read_bytes())
    data = path.read_bytes()
    found, said = read(tmp_path, 'bag.mcap', overwritten(data, len(data) // 2, b'\xff' * 100_000))
    assert 0 < len(whole) - len(found) < len(whole) // 2
    assert found[0] == whole[0]
    assert found[-1] == whole[-1]
    assert said


def test_lost_descriptions_of_topics_are_said(folder):
    first = FILES[''].index(b'/b')
    found, said = read(folder, 'bag.mcap', overwritten(FILES[''], first - 60, bytes(100)))
    assert found == []
    assert any('description is lost' in sentence for sentence in said)


@given(share=st.floats(0.0, 0.999))
def test_a_database_that_is_cut_off_gives_what_is_there(folder, database, share):
    data = database.read_bytes()
    whole, _ = read(folder, 'whole.db3', data)
    found, said = read(folder, 'cut.db3', data[: int(share * len(data))])
    assert said or found == whole
    assert found is None or [item for item in found if item not in whole] == []
    if share > 0.7:
        assert len(found) > len(whole) // 2


@given(share=st.floats(0.0, 0.99), garbage=st.binary(min_size=1, max_size=9000))
def test_garbage_in_a_database_breaks_nothing_but_itself(folder, database, share, garbage):
    """What it hits may be the pixels of an image, which nothing can tell."""
    data = database.read_bytes()
    damaged = overwritten(data, int(share * len(data)), garbage)
    found, said = read(folder, 'garbage.db3', damaged)
    assert found is not None or said


def test_a_database_whose_recording_was_killed_is_read_with_its_journal(tmp_path):
    """What was committed to the write-ahead log counts, though the file itself lacks it."""
    path = bag_files.stereo_plan(2).write(tmp_path / 'bag', 'sqlite3') / 'bag.db3'
    database = sqlite3.connect(path)
    database.execute('PRAGMA journal_mode=WAL')
    database.execute(
        'INSERT INTO messages (topic_id, timestamp, data) SELECT topic_id, ?, data '
        'FROM messages LIMIT 1',
        (bag_files.stamp_of(100),),
    )
    database.commit()
    killed = tmp_path / 'killed'
    killed.mkdir()
    for file in path.parent.glob('bag.db3*'):
        shutil.copy(file, killed / file.name)
    database.close()
    with Bag(killed / 'bag.db3', pytest.fail) as bag:
        assert bag.end_ns == bag_files.stamp_of(100)
        assert len(list(bag.messages(bag.topics))) == 9


@pytest.mark.parametrize('name', ['bag.mcap.zstd', 'bag.db3.zstd'])
def test_a_packed_file_that_is_cut_off_is_unpacked_as_far_as_it_goes(name, tmp_path):
    storage = 'mcap' if 'mcap' in name else 'sqlite3'
    path = bag_files.stereo_plan(40).write(tmp_path / 'bag', storage, 'file') / name
    whole, _ = read(tmp_path, name, path.read_bytes())
    found, said = read(tmp_path, name, path.read_bytes()[: 3 * path.stat().st_size // 4])
    assert len(whole) == 160
    assert 40 < len(found) < 160
    assert said
