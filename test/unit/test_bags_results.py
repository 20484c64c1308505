# SPDX-License-Identifier: Apache-2.0
"""The bag of results: the node's topics and types, times, statistics, what it may replace."""

from __future__ import annotations

import csv
import json
import sys

import numpy as np
import pytest
import yaml

pytest.importorskip('rosbags', reason='needs rosbags')

from rosbags.rosbag2 import Reader
from support import bag_files

from mast3r_ros.bags import message_types
from mast3r_ros.bags.message_types import MessageTypes, definitions_folder
from mast3r_ros.bags.result_bag import (
    ResultBag,
    about_replay,
    check_target,
    clear_target,
    topics_named,
)
from mast3r_ros.config import NodeConfig
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import Cloud, Matches, PairResult
from mast3r_ros.core.results import EngineInfo, ScaleSource
from mast3r_ros.core.scale import Scale
from mast3r_ros.core.views import Grid, View
from mast3r_ros.errors import InvalidInput, Mast3rError
from mast3r_ros.wire.result_topics import RESULT_TOPICS

TYPES = MessageTypes()
ENGINE = EngineInfo('oracle', 'paper', 'fp32', {'numpy': '2'})
H, W = bag_files.HEIGHT, bag_files.WIDTH


def result_of(number=0, *, source=ScaleSource.STEREO_BASELINE):
    """An answer of which everything is known."""
    rng = np.random.default_rng(number)
    left, right = bag_files.pictures(number)
    camera = bag_files.camera()
    stamp_ns = bag_files.stamp_of(number)
    pair = ViewPair(
        View(left, camera, None, stamp_ns, 'left'), View(right, camera, None, stamp_ns, 'right')
    )
    clouds = [
        Cloud(
            Grid(image, None, camera),
            rng.normal(size=(H, W, 3)).astype(np.float32),
            rng.uniform(1, 9, (H, W)).astype(np.float32),
        )
        for image in (left, right)
    ]
    uv = rng.uniform(0, 100, (2, 5, 2)).astype(np.float32)
    matches = Matches(uv[0], uv[1], rng.random(5, np.float32), 'warp_conf', None)
    scale = Scale(1.0, source, float('nan'), 0)
    timing_ms = {'decode': 2.5}
    notes = ('one', 'two')
    return PairResult(pair, *clouds, matches, scale, None, ENGINE, notes, timing_ms)


def write(path, results, config=None, **options):
    bag = ResultBag(path, config or NodeConfig(), TYPES, **options)
    for result in results:
        bag.write(result, {'no_partner': 3})
    bag.close()
    return bag


def read(path):
    with Reader(path) as reader:
        types = {item.topic: (item.msgtype, item.digest) for item in reader.connections}
        found = [
            (item.topic, time_ns, TYPES.read(bytes(data), item.msgtype))
            for item, time_ns, data in reader.messages()
        ]
    return types, found


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_topics_and_types_are_the_nodes(storage, tmp_path):
    write(tmp_path / 'out', [result_of()], storage=storage)
    types, found = read(tmp_path / 'out')
    expected = {f'/mast3r/{topic.name}': topic.type_name for topic in RESULT_TOPICS}
    assert {topic: kind for topic, (kind, _) in types.items()} == expected
    assert {topic for topic, _, _ in found} == set(expected)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_log_time_and_header_are_view_1s(storage, tmp_path):
    results = [result_of(number) for number in range(3)]
    write(tmp_path / 'out', results, storage=storage)
    _, found = read(tmp_path / 'out')
    assert len(found) == 3 * len(RESULT_TOPICS)
    for _, time_ns, message in found:
        stamp = message.header.stamp
        assert stamp.sec * 10**9 + stamp.nanosec == time_ns
        assert message.header.frame_id == 'left'
    assert {time_ns for _, time_ns, _ in found} == {result.stamp_ns for result in results}


def test_what_is_written_is_what_was_answered(tmp_path):
    result = result_of()
    write(tmp_path / 'out', [result])
    messages = {topic: message for topic, _, message in read(tmp_path / 'out')[1]}
    cloud = messages['/mast3r/points']
    points = cloud.data.view(np.float32).reshape(H, W, 5)
    np.testing.assert_array_equal(points[..., :3], result.cloud_1.points)
    depth = messages['/mast3r/depth/image']
    np.testing.assert_array_equal(depth.data.view(np.float32).reshape(H, W), result.cloud_1.depth)
    np.testing.assert_array_equal(messages['/mast3r/matches'].u_2, result.matches.uv_2[:, 0])
    assert messages['/mast3r/matches'].header_2.frame_id == 'right'


def test_only_the_topics_asked_for_are_there(tmp_path):
    bag = write(tmp_path / 'out', [result_of()], topics=topics_named(['matches', 'points']))
    types, found = read(tmp_path / 'out')
    assert list(types) == ['/mast3r/points', '/mast3r/matches']
    assert dict(bag.counts) == {'/mast3r/points': 1, '/mast3r/matches': 1}
    assert len(found) == 2


def test_an_unknown_topic_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInput, match='depth/image'):
        topics_named(['point'])


def test_the_nodes_name_stands_before_every_topic(tmp_path):
    write(tmp_path / 'out', [result_of()], node_name='/arm/eye')
    assert all(topic.startswith('/arm/eye/') for topic in read(tmp_path / 'out')[0])


def test_without_a_unit_there_is_no_depth_image(tmp_path):
    write(tmp_path / 'out', [result_of(source=ScaleSource.NONE)])
    assert '/mast3r/depth/image' not in {topic for topic, _, _ in read(tmp_path / 'out')[1]}


def test_clouds_keep_to_the_rate_that_the_settings_allow(tmp_path):
    config = NodeConfig(output={'cloud_rate_max_hz': 10.0})  # pairs come at 20 Hz
    bag = write(tmp_path / 'out', [result_of(number) for number in range(6)], config)
    assert bag.counts['/mast3r/points'] == 3
    assert bag.counts['/mast3r/matches'] == 6


def test_statistics_stand_in_a_table_with_a_row_a_pair(tmp_path):
    write(tmp_path / 'out', [result_of(0), result_of(1)])
    with (tmp_path / 'out' / 'stats.csv').open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row['stamp_ns']) for row in rows] == [bag_files.stamp_of(0), bag_files.stamp_of(1)]
    assert rows[0]['engine'] == 'oracle'
    assert float(rows[0]['decode_ms']) == 2.5
    assert rows[0]['matches'] == '5'
    assert rows[0]['scale_source'] == 'stereo_baseline'
    assert rows[0]['scale_spread'] == rows[0]['age_ms'] == ''
    assert rows[0]['drops'] == 'no_partner 3'
    assert rows[0]['notes'] == 'one; two'


def test_statistics_are_in_the_bag_only_if_asked_for(tmp_path):
    write(tmp_path / 'without', [result_of()])
    assert '/mast3r/stats' not in read(tmp_path / 'without')[0]
    write(tmp_path / 'with', [result_of()], with_stats=True)
    types, found = read(tmp_path / 'with')
    assert types['/mast3r/stats'][0] == 'mast3r_ros/msg/PairStats'
    (stats,) = (message for topic, _, message in found if topic == '/mast3r/stats')
    assert (stats.engine, stats.matches, list(stats.drop_counts)) == ('oracle', 5, [3])


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_the_same_results_give_the_same_file(storage, tmp_path):
    contents = []
    for place in ('one', 'two'):
        path = tmp_path / place / 'out'
        about = about_replay(NodeConfig(), ENGINE, ['left: /a'])
        write(path, [result_of(number) for number in range(3)], storage=storage, about=about)
        contents.append({file.name: file.read_bytes() for file in path.iterdir()})
        contents[-1].pop('stats.csv')
    assert contents[0] == contents[1]
    assert len(contents[0]) == 2


def test_the_bag_tells_how_it_was_made(tmp_path):
    config = NodeConfig(matching={'top_k': 77})
    write(tmp_path / 'out', [result_of()], about=about_replay(config, ENGINE, ['left: /a']))
    text = (tmp_path / 'out' / 'metadata.yaml').read_text()
    about = yaml.safe_load(text)['rosbag2_bagfile_information']['custom_data']
    assert json.loads(about['mast3r_ros.engine'])['device'] == 'paper'
    assert yaml.safe_load(about['mast3r_ros.settings'])['matching']['top_k'] == 77
    assert about['mast3r_ros.inputs'] == 'left: /a'


@pytest.mark.parametrize(
    ('package', 'messages'),
    [
        ('lib/python3.12/site-packages/mast3r_ros', 'share/mast3r_ros/msg'),
        ('local/lib/python3.10/dist-packages/mast3r_ros', 'share/mast3r_ros/msg'),
        ('site-packages/mast3r_ros', 'site-packages/mast3r_ros/_share/msg'),
    ],
)
def test_definitions_are_found_in_every_kind_of_installation(
    package, messages, tmp_path, monkeypatch
):
    (tmp_path / package).mkdir(parents=True)
    (tmp_path / messages).mkdir(parents=True)
    (tmp_path / messages / 'MatchArray.msg').write_text('')
    monkeypatch.setattr(message_types, 'PACKAGE', tmp_path / package)
    assert definitions_folder() == tmp_path / messages


def test_missing_definitions_are_said(tmp_path, monkeypatch):
    monkeypatch.setattr(message_types, 'PACKAGE', tmp_path / 'nowhere')
    monkeypatch.setattr(message_types, '__file__', str(tmp_path / 'a' / 'b' / 'c.py'))
    with pytest.raises(Mast3rError, match='install the package again'):
        definitions_folder()


def test_a_missing_rosbags_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'rosbags.typesys', None)
    with pytest.raises(Mast3rError, match=r"pip install 'mast3r_ros\[replay\]'"):
        MessageTypes()


def test_an_existing_target_is_refused_or_replaced_on_request(tmp_path):
    source, target = tmp_path / 'bag', tmp_path / 'out'
    check_target(target, source, replace=False)
    write(target, [result_of()])
    with pytest.raises(InvalidInput, match='--force'):
        check_target(target, source, replace=False)
    check_target(target, source, replace=True)
    clear_target(target)
    assert not target.exists()


def test_a_folder_that_is_no_bag_is_never_replaced(tmp_path):
    (tmp_path / 'home').mkdir()
    (tmp_path / 'home' / 'letter.txt').write_text('dear')
    with pytest.raises(InvalidInput, match='is no bag'):
        check_target(tmp_path / 'home', tmp_path / 'bag', replace=True)


@pytest.mark.parametrize('other', ['letter.txt', 'photos/sea.png', 'old_out.mcap'])
def test_a_bag_beside_which_other_things_lie_is_never_replaced(other, tmp_path):
    target = tmp_path / 'out'
    write(target, [result_of()])
    (target / other).parent.mkdir(exist_ok=True)
    (target / other).write_text('dear')
    before = {file.name for file in target.iterdir()}
    words = f'holds {other.partition("/")[0]}.*; move it away'
    with pytest.raises(InvalidInput, match=words):
        check_target(target, tmp_path / 'bag', replace=True)
    with pytest.raises(InvalidInput, match=words):  # it came while the first pair was answered
        clear_target(target)
    assert {file.name for file in target.iterdir()} == before


@pytest.mark.parametrize('name', ['../letter.txt', '{}/letter.txt', 'deep/letter.txt'])
def test_metadata_names_nothing_outside_of_its_folder_to_be_removed(name, tmp_path):
    target, letter = tmp_path / 'out', tmp_path / 'letter.txt'
    write(target, [result_of()])
    letter.write_text('dear')
    metadata = target / 'metadata.yaml'
    text = metadata.read_text().replace('- out.mcap', f'- out.mcap\n  - {name.format(tmp_path)}')
    metadata.write_text(text)
    assert len(yaml.safe_load(text)['rosbag2_bagfile_information']['relative_file_paths']) == 2
    clear_target(target)
    assert not target.exists()
    assert letter.read_text() == 'dear'


@pytest.mark.parametrize('text', ['', 'a: [', 'rosbag2_bagfile_information: 3', '\x00\xff'])
def test_a_folder_whose_metadata_tells_nothing_is_never_replaced(text, tmp_path):
    target = tmp_path / 'out'
    write(target, [result_of()])
    (target / 'metadata.yaml').write_text(text)
    with pytest.raises(InvalidInput, match='is no bag'):
        check_target(target, tmp_path / 'bag', replace=True)


def test_a_link_to_a_bag_is_never_replaced(tmp_path):
    write(tmp_path / 'out', [result_of()])
    (tmp_path / 'link').symlink_to(tmp_path / 'out')
    with pytest.raises(InvalidInput, match='is a link'):
        check_target(tmp_path / 'link', tmp_path / 'bag', replace=True)


@pytest.mark.parametrize('target', ['runs/bag', 'runs', '.'])
def test_the_bag_that_is_read_is_never_replaced(target, tmp_path):
    source = tmp_path / 'runs' / 'bag'
    source.mkdir(parents=True)
    with pytest.raises(InvalidInput, match='the bag itself'):
        check_target(tmp_path / target, source, replace=True)
