# SPDX-License-Identifier: Apache-2.0
"""Reading bags: every kind of file, in the order of recording; what cannot be read is said."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip('rosbags', reason='needs rosbags')

from rosbags.rosbag2 import Reader
from support import bag_files, mcap_files

from mast3r_ros.bags.bag import Bag
from mast3r_ros.bags.recorded import Notices, UnreadableBag

TOPICS = ['/a', '/b']


def read(path, **window):
    """Return the messages of a bag and what was said while reading it."""
    said = []
    with Bag(path, said.append) as bag:
        messages = [
            (item.topic, item.time_ns, item.data) for item in bag.messages(bag.topics, **window)
        ]
    return messages, said


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ('storage', 'compression'),
    [
        ('mcap', 'none'),
        ('mcap', 'storage'),
        ('mcap', 'file'),
        ('mcap', 'message'),
        ('sqlite3', 'none'),
        ('sqlite3', 'file'),
        ('sqlite3', 'message'),
    ],
)
def test_reads_what_rosbags_reads(storage, compression, tmp_path):
    path = bag_files.stereo_plan(8).write(tmp_path / 'bag', storage, compression)
    with Reader(path) as reader:
        theirs = [(item.topic, time, bytes(data)) for item, time, data in reader.messages()]
        types = {item.topic: item.msgtype for item in reader.connections}
        times = (reader.start_time, reader.end_time - 1)
    messages, said = read(path)
    assert messages == theirs
    assert len(messages) == 32
    assert said == []
    with Bag(path, said.append) as bag:
        assert {name: topic.type_name for name, topic in bag.topics.items()} == types
        assert {topic.count for topic in bag.topics.values()} == {8}
        assert (bag.start_ns, bag.end_ns) == times


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_window_holds_its_start_and_not_its_end(storage, tmp_path):
    path = bag_files.stereo_plan(8).write(tmp_path / 'bag', storage)
    everything, _ = read(path)
    start_ns, stop_ns = everything[8][1], everything[20][1]
    part, _ = read(path, start_ns=start_ns, stop_ns=stop_ns)
    assert part == [item for item in everything if start_ns <= item[1] < stop_ns]
    assert len(part) == 12


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_only_the_topics_asked_for_are_read(storage, tmp_path):
    path = bag_files.stereo_plan(3).write(tmp_path / 'bag', storage)
    with Bag(path, pytest.fail) as bag:
        found = list(bag.messages(['/cam/left/camera_info', '/no/such']))
    assert [item.topic for item in found] == ['/cam/left/camera_info'] * 3


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_the_first_messages_come_from_the_beginning_where_none_is_left(storage, tmp_path):
    plan, left, right = bag_files.stereo_plan(4), '/cam/left/camera_info', '/cam/right/camera_info'
    first_ns = plan.messages[0][1]
    plan.messages = [item for item in plan.messages if item[0] != right or item[1] == first_ns]
    start_ns = first_ns + bag_files.PERIOD_NS
    with Bag(plan.write(tmp_path / 'bag', storage), pytest.fail) as bag:
        found = bag.first_messages([left, right, '/nowhere'], start_ns)
        assert [(item.topic, item.time_ns) for item in found] == [
            (left, start_ns),
            (right, first_ns),
        ]
        assert list(bag.first_messages([], start_ns)) == []


def test_the_stamp_is_read_from_the_bytes(tmp_path):
    path = bag_files.stereo_plan(2).write(tmp_path / 'bag')
    with Bag(path, pytest.fail) as bag:
        stamps = [item.stamp_ns for item in bag.messages(['/cam/left/image_rect'])]
    assert stamps == [bag_files.stamp_of(0), bag_files.stamp_of(1)]


def test_messages_come_by_time_of_recording_whatever_chunk_they_are_in(tmp_path):
    groups = [[('/a', 5, b'1'), ('/b', 1, b'2')], [('/a', 3, b'3'), ('/a', 9, b'4')]]
    data = mcap_files.chunked(groups, TOPICS)
    messages, _ = read(written(tmp_path / 'bag.mcap', data))
    assert messages == [('/b', 1, b'2'), ('/a', 3, b'3'), ('/a', 5, b'1'), ('/a', 9, b'4')]


def test_messages_of_one_time_keep_their_order(tmp_path):
    groups = [[('/a', 7, b'1'), ('/b', 7, b'2')], [('/a', 7, b'3')]]
    data = mcap_files.chunked(groups, TOPICS)
    messages, _ = read(written(tmp_path / 'bag.mcap', data))
    assert [item[2] for item in messages] == [b'1', b'2', b'3']


@pytest.mark.parametrize('compression', ['', 'lz4'])
def test_chunks_of_a_file_without_an_index_are_found(compression, tmp_path):
    groups = [[(TOPICS[n % 2], n, bytes([n]))] for n in range(20)]
    data = mcap_files.chunked(groups, TOPICS, compression=compression)
    messages, said = read(written(tmp_path / 'bag.mcap', data))
    assert messages == [group[0] for group in groups]
    assert said == [
        'bag.mcap: the file has no index (it was not closed properly); all of it is searched'
    ]


def test_messages_outside_of_chunks_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr('mast3r_ros.bags.mcap_index._RUN_BYTES', 300)
    expected = [(TOPICS[n % 2], n, bytes(50)) for n in range(40)]
    messages, _ = read(written(tmp_path / 'bag.mcap', mcap_files.loose(expected, TOPICS)))
    assert messages == expected


def test_only_serialised_ros_messages_are_read(tmp_path):
    json = mcap_files.schema(1, 'x') + mcap_files.channel(1, 1, '/a', encoding='json')
    data = mcap_files.header() + json + mcap_files.message(1, 5, b'{}') + mcap_files.ending()
    messages, _ = read(written(tmp_path / 'bag.mcap', data))
    assert messages == []


def test_a_bag_in_several_files_is_read_from_the_first_to_the_last(tmp_path):
    whole = bag_files.stereo_plan(12)
    folder = tmp_path / 'bag'
    folder.mkdir()
    for number, first in ((0, 0), (1, 4), (10, 8)):
        plan = bag_files.BagPlan(whole.messages[4 * first : 4 * (first + 4)])
        part = plan.write(tmp_path / f'part{number}')
        (part / f'part{number}.mcap').rename(folder / f'bag_{number}.mcap')
    messages, said = read(folder)
    assert [item[1] for item in messages] == [item[1] for item in whole.messages]
    assert said == [f'{folder} has no metadata.yaml; its files are read without']


@pytest.mark.parametrize('content', ['', '[1, 2', 'rosbag2_bagfile_information: 3', '\x00'])
def test_damaged_metadata_is_said_and_done_without(content, tmp_path):
    path = bag_files.stereo_plan(2).write(tmp_path / 'bag')
    (path / 'metadata.yaml').write_text(content)
    messages, said = read(path)
    assert len(messages) == 8
    assert said == [f'{path}/metadata.yaml is damaged; the files are read without']


def test_a_file_that_metadata_names_and_that_is_missing_is_said(tmp_path):
    path = bag_files.stereo_plan(2).write(tmp_path / 'bag')
    text = (path / 'metadata.yaml').read_text()
    (path / 'metadata.yaml').write_text(text.replace('- bag.mcap', '- bag.mcap\n  - bag_1.mcap'))
    messages, said = read(path)
    assert len(messages) == 8
    assert any('bag_1.mcap is missing' in sentence for sentence in said)


@pytest.mark.parametrize(
    ('name', 'content', 'words'),
    [
        ('absent.mcap', None, 'does not exist'),
        ('bag.mcap', b'', 'no MCAP file'),
        ('bag.mcap', b'SQLite format 3\x00', 'no MCAP file'),
        ('bag.db3', b'\x89MCAP0\r\n' + bytes(200), 'no bag that can be read'),
        ('bag.bag', b'#ROSBAG V2.0\n', 'rosbags-convert'),
        ('notes.txt', b'hello', 'no .mcap or .db3 file'),
    ],
)
def test_what_is_no_bag_is_said_in_one_sentence(name, content, words, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UnreadableBag, match=words) as raised:
        Bag(path, pytest.fail)
    assert str(path.name) in str(raised.value)


def test_a_folder_without_a_bag_is_refused(tmp_path):
    with pytest.raises(UnreadableBag, match=r'no \.mcap or \.db3'):
        Bag(tmp_path, lambda sentence: None)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_an_empty_bag_has_no_time(storage, tmp_path):
    path = bag_files.BagPlan().write(
        tmp_path / 'bag', storage, extra_topics={'/image': bag_files.IMAGE}
    )
    with Bag(path, pytest.fail) as bag:
        assert (bag.start_ns, bag.end_ns) == (None, None)
        assert bag.topics['/image'].count == 0
        assert list(bag.messages(bag.topics)) == []


def test_unpacked_files_are_gone_when_the_bag_is_closed(tmp_path, monkeypatch):
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path / 'temporary'))
    (tmp_path / 'temporary').mkdir()
    path = bag_files.stereo_plan(1).write(tmp_path / 'bag', 'sqlite3', 'file')
    with Bag(path, pytest.fail):
        assert list((tmp_path / 'temporary').iterdir())
    assert list((tmp_path / 'temporary').iterdir()) == []


def test_a_notice_is_given_once_and_their_number_is_bounded():
    said = []
    notices = Notices(said.append)
    for number in range(200):
        notices(f'sentence {number}')
        notices(f'sentence {number}')
    assert said[:3] == ['sentence 0', 'sentence 1', 'sentence 2']
    assert len(said) == Notices.MOST + 1
    assert said == notices.said
