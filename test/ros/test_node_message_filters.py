# SPDX-License-Identifier: Apache-2.0
"""Pairs made by message_filters, where it is installed: those of our own, none of its troubles."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from raw_images import smooth_image
from ros_engines import ScriptedEngine
from ros_world import until
from scene import small_camera

from mast3r_ros.config import PairingConfig
from mast3r_ros.core.pairing import StereoPairing
from mast3r_ros.errors import EngineFailed
from mast3r_ros.ros.filter_pairing import FilterPairing

MS = 10**6
PERIOD_NS = 33 * MS
START_NS = 1_700_000_000 * 10**9
IMAGE = smooth_image(96, 64)
RULES = ('exact', 'approximate')


@pytest.fixture(autouse=True)
def _installed(request):
    if 'without_message_filters' not in request.fixturenames:
        pytest.importorskip('message_filters', reason='needs message_filters')


@pytest.fixture
def without_message_filters(monkeypatch):
    monkeypatch.setitem(sys.modules, 'message_filters', None)
    monkeypatch.setenv('ROS_DISTRO', 'jazzy')


@dataclass(frozen=True)
class Tick:
    """A frame that knows which exposure it is."""

    stamp_ns: int
    number: int

    def view(self):
        raise AssertionError('pairing must not look into a frame')


def both(numbers, gap_ns=0):
    """Return both cameras' frames of some exposures, left first."""
    arrivals = []
    for number in numbers:
        stamp_ns = START_NS + number * PERIOD_NS
        arrivals += [('left', Tick(stamp_ns, number)), ('right', Tick(stamp_ns + gap_ns, number))]
    return arrivals


def recorded(seed, *, gap_ns, jitter_ns):
    """Return two minutes' arrivals of cameras that lose frames and have latencies of their own."""
    rng = np.random.default_rng(seed)
    latency_ns = {'left': 0, 'right': rng.uniform(0.0, 3.0) * PERIOD_NS}
    arrivals = []
    for source, tick in both(range(3600), gap_ns):
        # Until our own pairing knows the cameras' period, it must not miss any.
        if tick.number < 8 or rng.random() > 0.1:
            jittered = tick.stamp_ns + int(rng.integers(-jitter_ns, jitter_ns + 1))
            arrivals.append((jittered + latency_ns[source], source, Tick(jittered, tick.number)))
    return [(source, tick) for _, source, tick in sorted(arrivals, key=lambda item: item[:2])]


def feed(pairing, arrivals):
    """Return the numbers of the frames of each pair complete before the end."""
    pairs = [pair for source, tick in arrivals for pair in pairing.add(source, tick)]
    return [(left.number, right.number) for left, right in pairs]


@pytest.mark.parametrize('seed', range(3))
@pytest.mark.parametrize(
    ('sync', 'tolerance_s', 'gap_ns', 'jitter_ns'),
    [('exact', 0.0, 0, 0), ('approximate', 0.0, 0, 0), ('approximate', 0.015, 4 * MS, 2 * MS)],
)
def test_pairs_are_those_of_our_own_pairing(seed, sync, tolerance_s, gap_ns, jitter_ns):
    """Where theirs is right: for equal stamps, and with a tolerance of less than half a period."""
    arrivals = recorded(seed, gap_ns=gap_ns, jitter_ns=jitter_ns)
    theirs, ours = (
        FilterPairing(PairingConfig(sync=sync, tolerance_s=tolerance_s)),
        StereoPairing(tolerance_s),
    )
    pairs, expected = feed(theirs, arrivals), feed(ours, arrivals)
    assert theirs.finish() == []
    expected += [(left.number, right.number) for left, right in ours.finish()]
    assert all(left == right for left, right in pairs)
    assert len(expected) > 2500
    assert pairs == expected
    assert len(arrivals) == 2 * len(pairs) + sum(theirs.drops.values())


@pytest.mark.parametrize(('gap_ns', 'pairs'), [(10 * MS, 20), (10 * MS + 2, 0)])
def test_a_tolerance_is_inclusive_to_the_nanosecond(gap_ns, pairs):
    pairing = FilterPairing(PairingConfig(sync='approximate', tolerance_s=0.01))
    assert len(feed(pairing, both(range(20), gap_ns))) == pairs


def test_exact_takes_no_other_stamp_whatever_the_tolerance():
    pairing = FilterPairing(PairingConfig(sync='exact', tolerance_s=0.5))
    assert feed(pairing, [*both(range(3)), *both(range(3, 6), 1), *both([6])]) == [
        (number, number) for number in (0, 1, 2, 6)
    ]
    assert pairing.closest_miss_ns == 1


@pytest.mark.parametrize('sync', RULES)
def test_a_recording_that_loops_gives_the_same_pairs_every_round(sync):
    pairing = FilterPairing(PairingConfig(sync=sync))
    arrivals = both([number for number in range(30) if number % 10 != 7])
    arrivals += both([30])[:1]  # a left frame without a partner
    rounds = [feed(pairing, arrivals) for _ in range(4)]
    assert all(pairs == rounds[0] for pairs in rounds)
    assert len(rounds[0]) == 27
    assert (pairing.resets, dict(pairing.drops)) == (3, {'time_jump': 3})


def test_a_pair_is_never_followed_by_an_older_one():
    """With a tolerance of several periods theirs pairs what it passed over before."""
    pairing = FilterPairing(PairingConfig(sync='approximate', tolerance_s=0.1))
    arrivals = both(range(4))
    lefts, rights = arrivals[0::2], arrivals[1::2]
    pairs = feed(pairing, [*lefts[:3], rights[2], rights[3]])
    assert pairs == [(2, 2)]
    assert pairing.drops == {'out_of_order': 2}


@pytest.mark.parametrize('sync', RULES)
def test_waiting_frames_are_limited_and_repeated_ones_counted(sync):
    pairing = FilterPairing(PairingConfig(sync=sync, waiting_limit=4))
    lefts = both(range(10))[0::2]
    assert feed(pairing, [*lefts, lefts[-1]]) == []
    assert pairing.drops == {'no_partner': 6, 'duplicate_stamp': 1}
    assert pairing.finish() == []
    assert pairing.drops == {'no_partner': 10, 'duplicate_stamp': 1}


class Run:
    """A node whose pairs message_filters makes."""

    def __init__(self, world, script=lambda number, engine: None, **settings):
        self.world = world
        self.engine = ScriptedEngine(script)
        named = {key.replace('__', '.'): value for key, value in settings.items()}
        self.node = world.start(named, engine=self.engine)
        self.stats = world.listen('stats')
        self.cameras = world.stereo()
        for camera, baseline_m in zip(self.cameras, (0.0, 0.1), strict=True):
            camera.calibrate(small_camera(96, 64, baseline_m))
        world.ready(*self.cameras)

    def show(self, number, gap_ns=0):
        for camera, late_ns in zip(self.cameras, (0, gap_ns), strict=True):
            message = camera.picture(IMAGE, START_NS + number * PERIOD_NS + late_ns)
            self.world.deliver(camera, message)

    def answered(self, number):
        self.stats.of_stamp(START_NS + number * PERIOD_NS)


@pytest.mark.parametrize('sync', RULES)
def test_the_node_answers_their_pairs_with_calibration_and_masks_as_ever(world, sync):
    run = Run(world, pairing__sync=sync, input__mask_policy='required')
    mask = np.ones((64, 96), bool)
    mask[:10] = False
    until(lambda: all(camera.hears_masks() for camera in run.cameras), 'masks are heard')
    for number in (1, 2):
        run.show(number)
        for camera in run.cameras:
            camera.send_mask(mask, START_NS + number * PERIOD_NS)
        run.answered(number)
    for view in run.engine.pairs[-1]:
        assert view.camera is not None
        assert not view.mask[:10].any()
        assert view.mask[10:].all()
    assert isinstance(run.node.session.pipeline._pairing, FilterPairing)
    assert run.node.session.drops == {}


@pytest.mark.parametrize('sync', RULES)
def test_whatever_fails_behind_a_pair_the_next_ones_are_answered(world, sync):
    """Their lock would be held for ever if an error got into their callback."""

    reached, opened = threading.Event(), threading.Event()

    def script(number, engine):
        if number == 0:
            reached.set()
            opened.wait(60.0)
            raise EngineFailed('the device is on fire')

    settings = {'input__queue': 'all', 'input__queue_limit': 2}
    run = Run(world, script, pairing__sync=sync, **settings)
    run.show(1)
    assert reached.wait(30.0)
    for number in range(2, 7):
        run.show(number)  # too many for the queue
    opened.set()
    run.answered(3)
    assert run.node.session.drops == {'engine_failed': 1, 'overflow': 3}
    run.show(9)
    run.answered(9)
    assert run.node.fatal is None


def test_stamps_that_are_not_equal_are_named_with_the_setting(world):
    run = Run(world, pairing__sync='exact', pairing__tolerance_s=0.5)
    for number in range(1, 40):
        run.show(number, gap_ns=MS)
        status = world.health('pairs')
        if status and 'asks for equal ones' in status.message:
            break
    told = world.told('pairs', '1.0 ms apart', 'pairing.sync exact asks for equal ones')
    assert 'set pairing.sync to nearest' in told.message


@pytest.mark.parametrize('sync', RULES)
def test_without_message_filters_configuring_fails_and_names_the_package(
    world, without_message_filters, sync
):
    node = world.start({'pairing.sync': sync}, engine=ScriptedEngine())
    told = world.told('engine', 'configure failed', 'ros-jazzy-message-filters')
    assert told.level == b'\x02'
    assert f'pairing.sync is {sync}' in told.message
    assert world.state() == 'unconfigured'
    assert node.session is None


def test_a_sequence_needs_no_message_filters(world, without_message_filters):
    world.start({'pairing.sync': 'exact', 'pairing.mode': 'sequence'}, engine=ScriptedEngine())
    until(lambda: world.state() == 'active', 'the node is active')
