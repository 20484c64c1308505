# SPDX-License-Identifier: Apache-2.0
"""mast3r-replay says in words what it cannot do, and answers every pair that is whole."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

pytest.importorskip('rosbags', reason='needs rosbags')

from support import bag_files
from support.bag_files import stamp_of, stereo_plan
from support.replay_program import CONFIGS, GEOMETRIC, read, run


@pytest.fixture
def stereo_bag(tmp_path: Path) -> Path:
    return stereo_plan(4).write(tmp_path / 'flight')


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
def test_what_cannot_be_done_is_said_in_one_line(
    words: tuple[str, ...],
    complaint: str,
    stereo_bag: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
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


def test_a_model_that_is_missing_is_said_and_nothing_is_written(
    stereo_bag: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ['--config', CONFIGS / 'drone.yaml', '--output', tmp_path / 'out']
    code, printed, said = run(capsys, stereo_bag, *words)
    assert (code, printed) == (1, '')
    assert said.splitlines()[-1].startswith('mast3r-replay: error: ')
    assert not (tmp_path / 'out').exists()


def test_an_empty_bag_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bag = bag_files.BagPlan().write(tmp_path / 'bag', extra_topics={'/image': bag_files.IMAGE})
    words = ('--mode', 'sequence', '--output', tmp_path / 'out')
    code, _, said = run(capsys, bag, *GEOMETRIC, *words)
    assert code == 1
    assert '/image holds no message' in said


def test_stamps_too_far_apart_name_the_setting(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_of_a_bag_that_is_cut_off_the_whole_pairs_are_answered(
    storage: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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


def test_messages_that_are_broken_cost_their_own_pair(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
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
