# SPDX-License-Identifier: Apache-2.0
"""mast3r-replay as a user meets it: a bag in, a bag out, the same bytes twice, errors in words."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rosbags', reason='needs rosbags')

from support import bag_files
from support.bag_files import stamp_of, stereo_plan
from support.real_data import data_folder

from mast3r_ros.bags.bag import Bag
from mast3r_ros.bags.message_types import MessageTypes, definitions_folder
from mast3r_ros.cli import replay
from mast3r_ros.wire.result_topics import RESULT_TOPICS

GEOMETRIC = ('--backend', 'geometric', '--threads', '1')
CONFIGS = Path(__file__).resolve().parents[2] / 'config'
DEADLINE_S = 120.0


@pytest.fixture
def stereo_bag(tmp_path):
    return stereo_plan(4).write(tmp_path / 'flight')


def run(capsys, *words):
    """Run the command; return its exit code, what it printed and what it complained of."""
    code = replay.main([str(word) for word in words])
    printed = capsys.readouterr()
    return code, printed.out, printed.err


def read(path):
    """Return the messages of a bag: (topic, time, bytes)."""
    with Bag(path, pytest.fail) as bag:
        return [(item.topic, item.time_ns, item.data) for item in bag.messages(bag.topics)]


def test_a_bag_becomes_a_bag_of_results(stereo_bag, tmp_path, capsys):
    out = tmp_path / 'out'
    code, printed, said = run(capsys, stereo_bag, *GEOMETRIC, '--output', out)
    assert code == 0
    assert '4 pairs answered' in printed
    assert 'left: /cam/left/image_rect, calibration /cam/left/camera_info' in said
    assert 'right: /cam/right/image_rect' in said
    found = read(out)
    for topic in RESULT_TOPICS:
        times = [time_ns for name, time_ns, _ in found if name == f'/mast3r/{topic.name}']
        assert times == [stamp_of(n) for n in range(4)], topic.name
    assert (out / 'stats.csv').read_text().count('\n') == 5


def test_the_report_can_be_read_by_programs(stereo_bag, tmp_path, capsys):
    words = ['--output', tmp_path / 'out', '--topics', 'points,matches', '--json']
    code, printed, _ = run(capsys, stereo_bag, *GEOMETRIC, *words)
    report = json.loads(printed)
    assert code == 0
    assert (report['pairs'], report['failed'], report['engine']) == (4, 0, 'geometric')
    assert report['messages'] == {'/mast3r/points': 4, '/mast3r/matches': 4}
    assert [camera['image'] for camera in report['cameras']] == [
        '/cam/left/image_rect',
        '/cam/right/image_rect',
    ]


def test_without_an_output_the_new_bag_is_named_after_the_old(
    stereo_bag, tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    code, printed, _ = run(capsys, stereo_bag, *GEOMETRIC, '--topics', 'matches', '--frames', 1)
    assert code == 0
    assert 'written to flight_mast3r' in printed
    assert len(read(tmp_path / 'flight_mast3r')) == 1


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_two_runs_in_processes_of_their_own_write_the_same_bytes(storage, stereo_bag, tmp_path):
    contents = []
    for place in ('one', 'two'):
        out = tmp_path / place / 'out'
        words = (stereo_bag, *GEOMETRIC, '--output', out, '--storage', storage)
        assert subprocess.run(command(*words), check=False, timeout=DEADLINE_S).returncode == 0
        contents.append({file.name: file.read_bytes() for file in out.iterdir()})
    assert {name for name in contents[0] if contents[0][name] != contents[1][name]} <= {
        'stats.csv'
    }


@pytest.mark.parametrize('mode', ['stereo', 'sequence'])
@pytest.mark.data
def test_a_real_flight_gives_the_same_bytes_and_plausible_depth(mode, tmp_path, capsys):
    flight = data_folder('euroc_stereo_bag')
    contents = []
    for place in ('one', 'two'):
        out = tmp_path / place
        words = ('--backend', 'geometric', '--mode', mode, '--frames', 3, '--output', out)
        code, _, said = run(capsys, flight, *words)
        assert (code, 'damaged' in said) == (0, False)
        contents.append(read(out))
    assert contents[0] == contents[1]
    counts = {name: sum(item[0] == name for item in contents[0]) for name, _, _ in contents[0]}
    # Without a baseline there is no unit of length, so no depth image.
    without_unit = {'/mast3r/depth/image'} if mode == 'sequence' else set()
    expected = {f'/mast3r/{topic.name}' for topic in RESULT_TOPICS} - without_unit
    assert counts == dict.fromkeys(expected, 3)
    if mode == 'stereo':
        data = next(data for name, _, data in contents[0] if name == '/mast3r/depth/image')
        image = MessageTypes().read(data, bag_files.IMAGE)
        assert (image.width, image.height) == (752, 480)
        depth_m = image.data.view(np.float32)
        assert np.isfinite(depth_m).mean() > 0.5
        assert 1.2 < np.nanmedian(depth_m) < 3.0


def test_a_sequence_is_chosen_by_mode_and_topic(stereo_bag, tmp_path, capsys):
    words = ['--mode', 'sequence', '--image', '/cam/right/image_rect', '--json']
    code, printed, _ = run(capsys, stereo_bag, *GEOMETRIC, *words, '--output', tmp_path / 'out')
    report = json.loads(printed)
    assert code == 0
    assert report['pairs'] == 3
    assert [camera['image'] for camera in report['cameras']] == ['/cam/right/image_rect']
    assert {time_ns for _, time_ns, _ in read(tmp_path / 'out')} == {
        stamp_of(n) for n in (1, 2, 3)
    }


def test_settings_come_from_the_same_files_as_the_nodes(stereo_bag, tmp_path, capsys):
    words = ['--config', CONFIGS / 'stereo_geometric.yaml', '--output', tmp_path / 'out']
    code, printed, _ = run(capsys, stereo_bag, *words)
    assert code == 0
    assert 'by geometric' in printed


def test_a_model_that_is_missing_is_said_and_nothing_is_written(stereo_bag, tmp_path, capsys):
    words = ['--config', CONFIGS / 'drone.yaml', '--output', tmp_path / 'out']
    code, printed, said = run(capsys, stereo_bag, *words)
    assert (code, printed) == (1, '')
    assert said.splitlines()[-1].startswith('mast3r-replay: error: ')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_of_a_bag_that_is_cut_off_the_whole_pairs_are_answered(storage, tmp_path, capsys):
    bag = stereo_plan(20).write(tmp_path / 'flight', storage)
    (file,) = (path for path in bag.iterdir() if path.name != 'metadata.yaml')
    os.truncate(file, 3 * file.stat().st_size // 4)
    words = ['--topics', 'matches', '--json', '--output', tmp_path / 'out']
    code, printed, said = run(capsys, bag, *GEOMETRIC, *words)
    report = json.loads(printed)
    assert code == 0
    assert 10 <= report['pairs'] <= 15
    assert report['failed'] == 0
    assert any('cut off' in sentence or 'index' in sentence for sentence in report['notices'])
    assert all(sentence in said for sentence in report['notices'])
    stamps = [time_ns for _, time_ns, _ in read(tmp_path / 'out')]
    assert stamps == [stamp_of(n) for n in range(report['pairs'])]


def test_messages_that_are_broken_cost_their_own_pair(tmp_path, capsys):
    plan = stereo_plan(4)
    topic, time_ns, fields = plan.messages[4]  # the second pair's left image
    cut = {**fields.values, 'data': fields['data'][:100]}
    plan.messages[4] = (topic, time_ns, type(fields)(fields.type_name, cut))
    words = ['--topics', 'matches', '--output', tmp_path / 'out']
    code, printed, said = run(capsys, plan.write(tmp_path / 'flight'), *GEOMETRIC, *words)
    assert code == 0
    assert '3 pairs answered' in printed
    assert '1 pairs failed' in printed
    assert 'data has 100 bytes' in said


@pytest.mark.parametrize(
    ('words', 'complaint'),
    [
        (('absent',), 'absent does not exist'),
        (('{bag}', '--left', '/nothing'), 'there is no topic /nothing'),
        (('{bag}', '--image', '/cam/left/image_rect'), 'image is no camera of the mode stereo'),
        (('{bag}', '--start', '-1'), 'the start is -1 s'),
        (('{bag}', '--start', '100'), 'no pair was found in this part of the bag'),
        (('{bag}', '--topics', 'clouds'), "'clouds' is no topic of results"),
        (('{bag}', '--output', '{bag}'), 'where the bag itself lies'),
        (('{bag}', '--output', '{old}'), 'exists already'),
        (('{bag}', '--backend', 'magic'), 'magic'),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(words, complaint, stereo_bag, tmp_path, capsys):
    old = tmp_path / 'old'
    old.mkdir()
    names = {'bag': stereo_bag, 'old': old}
    out = ('--output', tmp_path / 'out') if '--output' not in words else ()
    code, printed, said = run(
        capsys,
        *(word.format(**names) for word in words[:1]),
        *GEOMETRIC,
        *out,
        *(word.format(**names) for word in words[1:]),
    )
    last = said.strip().splitlines()[-1]
    assert (code, printed) == (1, '')
    assert last.startswith('mast3r-replay: error: ')
    assert complaint in last
    assert 'Traceback' not in said
    assert not (tmp_path / 'out').exists()


def test_an_empty_bag_is_said(tmp_path, capsys):
    bag = bag_files.BagPlan().write(tmp_path / 'bag', extra_topics={'/image': bag_files.IMAGE})
    words = ('--mode', 'sequence', '--output', tmp_path / 'out')
    code, _, said = run(capsys, bag, *GEOMETRIC, *words)
    assert code == 1
    assert '/image holds no message' in said


def test_stamps_too_far_apart_name_the_setting(tmp_path, capsys):
    plan = bag_files.BagPlan()
    for number, side, late_ns in (
        (n, s, d) for n in range(3) for s, d in (('left', 0), ('right', 2 * 10**7))
    ):
        stamp_ns = stamp_of(number) + late_ns
        picture = bag_files.pictures(number)[0]
        plan.add(f'/{side}/image', stamp_ns, bag_files.image_fields(picture, stamp_ns))
    words = ('--output', tmp_path / 'out')
    code, _, said = run(capsys, plan.write(tmp_path / 'bag'), *GEOMETRIC, *words)
    assert code == 1
    assert 'nearest stamps are 20.000 ms apart' in said
    assert 'pairing.tolerance_s' in said


def test_an_older_bag_is_replaced_on_request(stereo_bag, tmp_path, capsys):
    words = (stereo_bag, *GEOMETRIC, '--topics', 'matches', '--output', tmp_path / 'out')
    assert run(capsys, *words, '--frames', 4)[0] == 0
    assert run(capsys, *words, '--frames', 1)[0] == 1
    assert len(read(tmp_path / 'out')) == 4
    assert run(capsys, *words, '--frames', 1, '--force')[0] == 0
    assert len(read(tmp_path / 'out')) == 1


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_ctrl_c_leaves_whole_pairs_that_can_be_read(storage, number, tmp_path):
    bag = stereo_plan(600).write(tmp_path / 'flight')
    out = tmp_path / 'out'
    words = (bag, *GEOMETRIC, '--output', out, '--storage', storage)
    process = subprocess.Popen(
        command(*words), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: out.is_dir() or process.poll() is not None)
    time.sleep(0.5)
    process.send_signal(number)
    printed, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert 'Traceback' not in said
    assert f'{out} can be read' in said.splitlines()[-1]
    with Bag(out, pytest.fail) as results:
        counts = {topic.count for topic in results.topics.values()}
    (pairs,) = counts
    assert 0 < pairs < 600
    assert f'{pairs} pairs answered' in printed
    assert f'stopped after {pairs} pairs' in said


def test_ctrl_c_before_the_first_answer_leaves_nothing(tmp_path):
    bag = stereo_plan(1).write(tmp_path / 'flight')
    out = tmp_path / 'out'
    script = (
        'import sys, time\n'
        'from mast3r_ros.engines.geometric.engine import GeometricEngine\n'
        'def wait(*_):\n'
        '    print("waiting", flush=True)\n'
        '    time.sleep(60)\n'
        'GeometricEngine.encode = wait\n'
        'from mast3r_ros.cli.replay import main\n'
        'sys.exit(main(sys.argv[1:]))\n'
    )
    process = subprocess.Popen(
        [sys.executable, '-c', script, str(bag), *GEOMETRIC, '--output', str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == 'waiting\n'
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert 'nothing was written' in said
    assert not out.exists()


def test_memory_does_not_grow_with_the_bag(tmp_path):
    """Ten times the pairs take no more memory than some megabytes of bookkeeping."""
    peaks = []
    for pairs in (30, 300):
        bag = stereo_plan(pairs).write(tmp_path / f'flight{pairs}')
        script = (
            'import resource, sys\n'
            'from mast3r_ros.cli.replay import main\n'
            'main(sys.argv[1:])\n'
            'print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n'
        )
        words = ('--topics', 'points,points_2', '--output', str(tmp_path / f'out{pairs}'))
        answer = subprocess.run(
            [sys.executable, '-c', script, str(bag), *GEOMETRIC, *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=DEADLINE_S,
        )
        peaks.append(int(answer.stdout.split()[-1]) / 1024)
    written_mib = sum(file.stat().st_size for file in (tmp_path / 'out300').iterdir()) / 2**20
    assert written_mib > 200
    assert peaks[1] - peaks[0] < 40


def test_our_types_have_the_hashes_of_the_ros_build(stereo_bag, tmp_path, capsys):
    """Otherwise ROS 2 would not take the recorded messages for the ones it knows."""
    built = definitions_folder() / 'MatchArray.json'
    if not built.is_file():
        pytest.skip('needs a ROS build of the messages')
    words = ('--topics', 'matches', '--with-stats', '--output', tmp_path / 'out')
    assert run(capsys, stereo_bag, *GEOMETRIC, *words)[0] == 0
    metadata = (tmp_path / 'out' / 'metadata.yaml').read_text()
    for name in ('MatchArray', 'PairStats'):
        hashes = json.loads(built.with_name(f'{name}.json').read_text())['type_hashes']
        (ours,) = (
            item['hash_string'] for item in hashes if item['type_name'] == f'mast3r_ros/msg/{name}'
        )
        assert ours in metadata


def command(*words):
    return [sys.executable, '-m', 'mast3r_ros.cli.replay', *(str(word) for word in words)]


def wait_for(condition):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
