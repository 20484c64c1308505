# SPDX-License-Identifier: Apache-2.0
"""mast3r-replay turns a bag into a bag of results: the same bytes each time, in steady memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('rosbags', reason='needs rosbags')

from support import bag_files
from support.bag_files import stamp_of, stereo_plan
from support.real_data import data_folder
from support.replay_program import CONFIGS, DEADLINE_S, GEOMETRIC, command, read, run

from mast3r_ros.bags.message_types import MessageTypes, definitions_folder
from mast3r_ros.wire.result_topics import RESULT_TOPICS


@pytest.fixture
def stereo_bag(tmp_path: Path) -> Path:
    return stereo_plan(4).write(tmp_path / 'flight')


def test_a_bag_becomes_a_bag_of_results(
    stereo_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_the_report_can_be_read_by_programs(
    stereo_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
    stereo_bag: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, printed, _ = run(capsys, stereo_bag, *GEOMETRIC, '--topics', 'matches', '--frames', 1)
    assert code == 0
    assert 'written to flight_mast3r' in printed
    assert len(read(tmp_path / 'flight_mast3r')) == 1


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_two_runs_in_processes_of_their_own_write_the_same_bytes(
    storage: str, stereo_bag: Path, tmp_path: Path
) -> None:
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
def test_a_real_flight_gives_the_same_bytes_and_plausible_depth(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_a_sequence_is_chosen_by_mode_and_topic(
    stereo_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['--mode', 'sequence', '--image', '/cam/right/image_rect', '--json']
    code, printed, _ = run(capsys, stereo_bag, *GEOMETRIC, *words, '--output', tmp_path / 'out')
    report = json.loads(printed)
    assert code == 0
    assert report['pairs'] == 3
    assert [camera['image'] for camera in report['cameras']] == ['/cam/right/image_rect']
    assert {time_ns for _, time_ns, _ in read(tmp_path / 'out')} == {
        stamp_of(n) for n in (1, 2, 3)
    }


def test_settings_come_from_the_same_files_as_the_nodes(
    stereo_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['--config', CONFIGS / 'stereo_geometric.yaml', '--output', tmp_path / 'out']
    code, printed, _ = run(capsys, stereo_bag, *words)
    assert code == 0
    assert 'by geometric' in printed


def test_an_older_bag_is_replaced_on_request(
    stereo_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (stereo_bag, *GEOMETRIC, '--topics', 'matches', '--output', tmp_path / 'out')
    assert run(capsys, *words, '--frames', 4)[0] == 0
    assert run(capsys, *words, '--frames', 1)[0] == 1
    assert len(read(tmp_path / 'out')) == 4
    assert run(capsys, *words, '--frames', 1, '--force')[0] == 0
    assert len(read(tmp_path / 'out')) == 1


def test_memory_does_not_grow_with_the_bag(tmp_path: Path) -> None:
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


def test_our_types_have_the_hashes_of_the_ros_build(
    stereo_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
