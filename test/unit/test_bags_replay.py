# SPDX-License-Identifier: Apache-2.0
"""The replay: every pair in order, the same every time, and nothing lost to what goes wrong."""

from __future__ import annotations

import math
import os
import signal
import threading

import numpy as np
import pytest

pytest.importorskip('rosbags', reason='needs rosbags')

from support import bag_files
from support.bag_files import DEPTH_M, stamp_of, stereo_plan

from mast3r_ros.bags.bag import Bag
from mast3r_ros.bags.camera_topics import choose_cameras
from mast3r_ros.bags.interruption import Interruption
from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.bags.recorded import Notices
from mast3r_ros.bags.replay import Part, Replay, with_fixed_threads
from mast3r_ros.bags.result_bag import topics_named
from mast3r_ros.bags.run import Target, run_replay
from mast3r_ros.config import NodeConfig
from mast3r_ros.core.products import Product
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.engines.geometric.engine import GeometricEngine
from mast3r_ros.errors import EngineUnavailable, InvalidInput

GEOMETRIC = NodeConfig(runtime={'backend': 'geometric', 'num_threads': 1})
SEQUENCE = GEOMETRIC.replace(pairing={'mode': 'sequence'})
TYPES = MessageTypes()


@pytest.fixture(scope='module')
def stereo_bag(tmp_path_factory):
    return stereo_plan(4).write(tmp_path_factory.mktemp('bags') / 'stereo')


def replay_of(path, config=GEOMETRIC, *, said=None, **options):
    """Return a replay of a bag, whose files stay open until the test ends."""
    notices = Notices(pytest.fail if said is None else said.append)
    bag = Bag(path, notices)
    cameras = choose_cameras(bag.topics, config, {})
    return Replay(bag, cameras, config, TYPES, notices, **options)


class Troubled(GeometricEngine):
    """An engine that breaks at some of its calls.

    :param troubles: what is raised at which call, from 0.
    """

    def __init__(self, config, troubles):
        super().__init__(config)
        self.calls = 0
        self.troubles = troubles

    def decode(self, pairs, outputs):
        call, self.calls = self.calls, self.calls + 1
        if call in self.troubles:
            raise self.troubles[call]
        return super().decode(pairs, outputs)


def test_every_pair_is_answered_in_order(stereo_bag):
    replay = replay_of(stereo_bag)
    results = list(replay.results())
    assert [result.stamp_ns for result in results] == [stamp_of(n) for n in range(4)]
    assert (replay.answered, replay.failed, replay.drops) == (4, 0, {})
    for number, result in enumerate(results):
        left, right = bag_files.pictures(number)
        np.testing.assert_array_equal(result.pair.view_1.image, left)
        np.testing.assert_array_equal(result.pair.view_2.image, right)
        assert result.pair.view_1.frame_id == 'left_optical'


def test_a_calibrated_pair_gives_metres(stereo_bag):
    result = next(replay_of(stereo_bag).results())
    assert result.scale.source is ScaleSource.STEREO_BASELINE
    assert np.nanmedian(result.cloud_1.depth) == pytest.approx(DEPTH_M, rel=0.02)


def test_calibration_that_was_recorded_once_serves_every_part(tmp_path):
    plan = stereo_plan(6)
    seen = set()
    plan.messages = [
        item
        for item in plan.messages
        if 'info' not in item[0] or (item[0] not in seen and not seen.add(item[0]))
    ]
    path = plan.write(tmp_path / 'bag')
    results = list(replay_of(path, part=Part(start_s=0.2)).results())
    assert len(results) == 2
    assert all(result.pair.view_1.camera is not None for result in results)


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_a_part_of_any_length_is_a_time_that_a_bag_can_be_asked_for(storage, tmp_path):
    path = stereo_plan(2, calibrated=False).write(tmp_path / 'bag', storage)
    for part, pairs in ((Part(start_s=1e300), 0), (Part(start_s=0.01, duration_s=1e300), 1)):
        assert len(list(replay_of(path, part=part).results())) == pairs


def test_calibration_that_comes_after_the_first_images_serves_them_too(tmp_path):
    plan = stereo_plan(4)
    plan.messages = [
        (topic, time_ns + (75_000_000 if 'info' in topic else 0), fields)
        for topic, time_ns, fields in plan.messages
    ]
    path = plan.write(tmp_path / 'bag')
    results = list(replay_of(path).results())
    assert len(results) == 4
    assert results[0].scale.source is ScaleSource.STEREO_BASELINE


def test_a_sequence_pairs_each_frame_with_the_one_before(tmp_path):
    plan = bag_files.BagPlan()
    for number in range(5):
        picture = bag_files.made_up_pair(160, 120, 4 * number + 1)[1]
        fields = bag_files.image_fields(picture, stamp_of(number))
        plan.add('/cam/image', stamp_of(number), fields)
    results = list(replay_of(plan.write(tmp_path / 'bag'), SEQUENCE).results())
    stamps = [(item.pair.view_1.stamp_ns, item.pair.view_2.stamp_ns) for item in results]
    assert stamps == [(stamp_of(n), stamp_of(n - 1)) for n in range(1, 5)]


def test_the_masks_of_the_bag_are_used(tmp_path):
    plan = stereo_plan(2)
    keep = np.zeros((bag_files.HEIGHT, bag_files.WIDTH), bool)
    keep[:60] = True
    for number in range(2):
        masked = bag_files.mask_fields(keep, stamp_of(number))
        plan.add('/cam/left/mask', stamp_of(number) + 30_000_000, masked)
    for result in replay_of(plan.write(tmp_path / 'bag')).results():
        depth = result.cloud_1.depth
        assert np.isnan(depth[60:]).all()
        assert np.isfinite(depth[:60]).mean() > 0.5
        assert result.matches.uv_1[:, 1].max() <= 60


@pytest.mark.parametrize(
    ('part', 'numbers'),
    [
        (Part(), [0, 1, 2, 3]),
        (Part(start_s=0.06), [2, 3]),
        (Part(duration_s=0.06), [0, 1]),
        (Part(start_s=0.05, duration_s=0.05), [1]),
        (Part(pairs=3), [0, 1, 2]),
        (Part(start_s=100.0), []),
        (Part(start_s=1e300), []),
        (Part(duration_s=1e300), [0, 1, 2, 3]),
    ],
)
def test_a_part_of_a_bag_can_be_replayed(part, numbers, stereo_bag):
    results = list(replay_of(stereo_bag, part=part).results())
    assert [result.stamp_ns for result in results] == [stamp_of(n) for n in numbers]


@pytest.mark.parametrize(
    ('values', 'words'),
    [
        ({'start_s': -1.0}, 'start is -1 s'),
        ({'start_s': math.nan}, 'start is nan s'),
        ({'start_s': math.inf}, 'start is inf s'),
        ({'duration_s': 0.0}, 'duration is 0 s'),
        ({'duration_s': math.nan}, 'duration is nan s'),
        ({'duration_s': math.inf}, 'duration is inf s'),
        ({'pairs': 0}, 'pairs is 0'),
    ],
)
def test_an_impossible_part_is_refused(values, words):
    with pytest.raises(InvalidInput, match=words):
        Part(**values)


def test_only_what_is_wanted_is_computed(stereo_bag):
    result = next(replay_of(stereo_bag, wanted=Product.MATCHES).results())
    assert result.matches is not None
    assert result.cloud_1 is None


def test_a_pair_that_fails_costs_no_other(stereo_bag):
    said = []
    troubles = {1: InvalidInput('too odd'), 2: RuntimeError('broken pipe')}
    replay = replay_of(stereo_bag, said=said, make_engine=lambda c: Troubled(c, troubles))
    assert [result.stamp_ns for result in replay.results()] == [stamp_of(0), stamp_of(3)]
    assert (replay.answered, replay.failed) == (2, 2)
    assert replay.drops == {'invalid_input': 1, 'failed': 1}
    assert said == ['a pair failed: too odd', "a pair failed: RuntimeError('broken pipe')"]


def test_images_without_a_partner_are_counted(tmp_path):
    plan = stereo_plan(6)
    plan.messages = [
        item
        for item in plan.messages
        if item[:2] != ('/cam/right/image_rect', stamp_of(2) + 2_000_000)
    ]
    replay = replay_of(plan.write(tmp_path / 'bag'))
    assert [item.stamp_ns for item in replay.results()] == [stamp_of(n) for n in (0, 1, 3, 4, 5)]
    assert replay.drops == {'no_partner': 1}


@pytest.mark.parametrize('part', [Part(pairs=1), Part(), Part(duration_s=0.05)])
def test_a_bag_of_one_pair_is_answered(part, tmp_path):
    replay = replay_of(stereo_plan(1, gap_ns=2_000_000).write(tmp_path / 'bag'), part=part)
    assert [item.stamp_ns for item in replay.results()] == [stamp_of(0)]
    assert replay.drops == {}


def test_images_that_are_left_at_the_end_are_counted(tmp_path):
    plan = stereo_plan(3, gap_ns=2_000_000, calibrated=False)
    del plan.messages[-1]
    replay = replay_of(plan.write(tmp_path / 'bag'))
    assert [item.stamp_ns for item in replay.results()] == [stamp_of(0), stamp_of(1)]
    assert replay.drops == {'no_partner': 1}


def test_stamps_that_are_too_far_apart_are_told(tmp_path):
    replay = replay_of(stereo_plan(4, gap_ns=16_000_000).write(tmp_path / 'bag'))
    assert list(replay.results()) == []
    assert replay.closest_miss_ns == 16_000_000


def test_without_an_engine_the_reason_is_raised(stereo_bag):
    def no_engine(_config):
        raise EngineUnavailable('no such device')

    with pytest.raises(EngineUnavailable, match='no such device'):
        list(replay_of(stereo_bag, make_engine=no_engine).results())


def test_the_number_of_threads_is_fixed():
    fixed = with_fixed_threads(NodeConfig())
    assert fixed.runtime.num_threads >= 1
    assert with_fixed_threads(GEOMETRIC) == GEOMETRIC
    assert with_fixed_threads(fixed) == fixed


@pytest.mark.parametrize('storage', ['mcap', 'sqlite3'])
def test_two_replays_write_the_same_bytes(storage, stereo_bag, tmp_path):
    contents = []
    for place in ('one', 'two'):
        target = Target(tmp_path / place / 'out', storage=storage)
        outcome = run_replay(replay_of(stereo_bag), target, TYPES, ['left: /a'])
        assert (outcome.pairs, outcome.stopped, outcome.error) == (4, False, None)
        files = {file.name: file.read_bytes() for file in target.path.iterdir()}
        assert files.pop('stats.csv').count(b'\n') == 5
        contents.append(files)
    assert contents[0] == contents[1]


def test_a_replay_that_comes_to_nothing_leaves_what_was_there(stereo_bag, tmp_path):
    target = Target(tmp_path / 'out', topics_named(['matches']))
    assert run_replay(replay_of(stereo_bag), target, TYPES, []).path == target.path
    before = {file.name: file.read_bytes() for file in target.path.iterdir()}
    nothing = run_replay(replay_of(stereo_bag, part=Part(start_s=9.0)), target, TYPES, [])
    assert (nothing.pairs, nothing.path) == (0, None)
    assert {file.name: file.read_bytes() for file in target.path.iterdir()} == before


def test_an_engine_that_dies_leaves_a_bag_that_can_be_read(stereo_bag, tmp_path):
    hangs = threading.Event()

    class Hanging(GeometricEngine):
        def decode(self, pairs, outputs):
            if pairs[0][0].grid.image[0, 0, 0] == bag_files.pictures(2)[0][0, 0, 0]:
                hangs.wait(60.0)
            return super().decode(pairs, outputs)

        def cancel(self):
            pass

    config = GEOMETRIC.replace(runtime=GEOMETRIC.runtime.replace(call_timeout_s=0.3))
    replay = replay_of(stereo_bag, config, make_engine=Hanging)
    outcome = run_replay(replay, Target(tmp_path / 'out'), TYPES, [])
    hangs.set()
    assert 'did not return' in str(outcome.error)
    with Bag(tmp_path / 'out', pytest.fail) as bag:
        stamps = [item.time_ns for item in bag.messages(['/mast3r/points'])]
    assert stamps == [stamp_of(n) for n in range(outcome.pairs)]
    assert outcome.pairs == 2


def test_an_interrupted_replay_leaves_whole_pairs_that_can_be_read(stereo_bag, tmp_path):
    def interrupt(replay):
        if replay.answered == 2:
            os.kill(os.getpid(), signal.SIGINT)

    outcome = run_replay(replay_of(stereo_bag), Target(tmp_path / 'out'), TYPES, [], interrupt)
    assert outcome.stopped
    assert outcome.pairs == 2
    with Bag(tmp_path / 'out', pytest.fail) as bag:
        assert {topic.count for topic in bag.topics.values()} == {2}


def test_no_interruption_falls_into_a_whole_step():
    steps = []

    def work():
        with Interruption() as interruption:
            with interruption.whole_step():
                signal.raise_signal(signal.SIGINT)
                steps.append('inside')
            steps.append('after')

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ['inside']


@pytest.mark.parametrize('number', [signal.SIGINT, signal.SIGTERM])
def test_outside_of_whole_steps_it_interrupts_at_once_and_once(number):
    cleared = []
    with Interruption():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        signal.raise_signal(number)
        cleared.append('up')
    assert cleared == ['up']


def test_signals_mean_what_they_meant_before_afterwards():
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_in_another_thread_nothing_is_interrupted():
    done = []

    def work():
        with Interruption() as interruption, interruption.whole_step():
            done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert done == [True]
