# SPDX-License-Identifier: Apache-2.0
"""Which images become pairs and which pairs are answered, under more traffic than can be."""

from __future__ import annotations

import statistics
import threading
import time

import pytest
from raw_images import smooth_image
from ros_engines import ScriptedEngine
from ros_world import TYPES, resident_bytes, stamp_of

IMAGE = smooth_image(96, 64)
MS = 10**6
PERIOD_NS = 33 * MS
SOAK_S, WARM_UP_S = 180, 40
MB = 10**6


class Gate:
    """Holds the engine at its first pair until opened."""

    def __init__(self):
        self.reached, self.opened = threading.Event(), threading.Event()

    def __call__(self, number, engine):
        if number == 0:
            self.reached.set()
            assert self.opened.wait(60.0)


def received(node):
    return [item.received for item in node.session.inputs]


def show(world, cameras, stamp_ns, offset_ns=0):
    """Publish a pair, the right view that much later, and see it taken in."""
    for camera, late_ns in zip(cameras, (0, offset_ns), strict=False):
        world.deliver(camera, camera.picture(IMAGE, stamp_ns + late_ns))


def start_with_gate(world, settings=None):
    """Return a node whose engine works on pair 0, its cameras, and what opens the gate."""
    gate = Gate()
    engine = ScriptedEngine(gate)
    node = world.start(settings, engine=engine)
    stats = world.listen('stats')
    cameras = world.stereo()
    world.ready(*cameras)
    show(world, cameras, PERIOD_NS)
    assert gate.reached.wait(30.0)
    return node, engine, cameras, stats, gate.opened


def test_at_30_hz_every_answer_is_a_true_pair_and_no_backlog_grows(world):
    offset_ns = 2 * MS  # of the right camera's exposure
    engine = ScriptedEngine(lambda number, engine: engine.sleep(0.06))
    node = world.start(engine=engine)
    stats = world.listen('stats')
    cameras = world.stereo()
    world.ready(*cameras)
    start_ns = time.time_ns()
    for number in range(75):
        time.sleep(max(0.0, (start_ns + number * PERIOD_NS - time.time_ns()) / 1e9))
        for camera, late_ns in zip(cameras, (0, offset_ns), strict=True):
            camera.show(IMAGE, start_ns + number * PERIOD_NS + late_ns)
    time.sleep(0.3)  # whatever the middleware still holds is delivered before the last pair
    last_ns = start_ns + 75 * PERIOD_NS
    show(world, cameras, last_ns, offset_ns)
    stats.of_stamp(last_ns)

    assert {right - left for left, right in engine.stamps} == {offset_ns}
    stamps = [stamp_of(message) for message in stats]
    assert stamps == sorted(set(stamps))
    assert len(stamps) >= 8
    # A backlog of two seconds of traffic would wait for seconds; one place waits for one call.
    assert max(message.wait_ms for message in stats) < 1000.0
    drops = dict(zip(stats[-1].drop_reasons, stats[-1].drop_counts, strict=True))
    assert set(drops) <= {'superseded', 'no_partner'}
    unpaired = drops.get('no_partner', 0)
    assert sum(received(node)) == 2 * (len(engine.pairs) + drops['superseded']) + unpaired


def test_the_newest_pair_is_never_the_one_that_is_dropped(world):
    node, engine, cameras, stats, opened = start_with_gate(world)
    for number in range(2, 7):
        show(world, cameras, number * PERIOD_NS)
    opened.set()
    stats.of_stamp(6 * PERIOD_NS)
    assert [left for left, _ in engine.stamps] == [PERIOD_NS, 6 * PERIOD_NS]
    assert node.session.drops == {'superseded': 4}


def test_a_queue_for_all_answers_every_pair_in_order(world):
    settings = {'input.queue': 'all', 'input.queue_limit': 8}
    node, engine, cameras, stats, opened = start_with_gate(world, settings)
    for number in range(2, 9):
        show(world, cameras, number * PERIOD_NS)
    opened.set()
    stats.of_stamp(8 * PERIOD_NS)
    assert [left // PERIOD_NS for left, _ in engine.stamps] == list(range(1, 9))
    assert node.session.drops == {}


def test_overflow_of_a_queue_for_all_is_an_error_that_is_said(world):
    settings = {'input.queue': 'all', 'input.queue_limit': 2}
    node, engine, cameras, stats, opened = start_with_gate(world, settings)
    for number in range(2, 7):
        show(world, cameras, number * PERIOD_NS)
    assert node.session.drops == {'overflow': 3}
    told = world.told('pairs', 'pairs did not fit', 'input.queue_limit')
    assert told.level == b'\x02'
    opened.set()
    stats.of_stamp(3 * PERIOD_NS)
    show(world, cameras, 9 * PERIOD_NS)
    stats.of_stamp(9 * PERIOD_NS)
    assert [left // PERIOD_NS for left, _ in engine.stamps] == [1, 2, 3, 9]


def test_a_lost_frame_costs_its_own_pair_and_shifts_no_other(world):
    engine = ScriptedEngine()
    settings = {'pairing.tolerance_s': 0.05, 'input.queue': 'all'}  # longer than a period
    node = world.start(settings, engine=engine)
    stats = world.listen('stats')
    left, right = world.stereo()
    world.ready(left, right)
    kept = [number for number in range(1, 25) if number not in (7, 8, 15)]
    for number in range(1, 25):
        if number in kept:
            show(world, (left, right), number * PERIOD_NS)
        else:
            left.show(IMAGE, number * PERIOD_NS)
    stats.of_stamp(24 * PERIOD_NS)
    assert engine.stamps == [(number * PERIOD_NS,) * 2 for number in kept]
    assert node.session.drops == {'no_partner': 3}


@pytest.mark.parametrize('stride', [1, 3])
def test_in_a_sequence_the_newer_frame_is_view_1(world, stride):
    engine = ScriptedEngine()
    settings = {'pairing.mode': 'sequence', 'pairing.stride': stride, 'input.queue': 'all'}
    world.start(settings, engine=engine)
    stats = world.listen('stats')
    camera = world.camera('image')
    world.ready(camera)
    for number in range(1, 8):
        show(world, [camera], number * PERIOD_NS)
    stats.of_stamp(7 * PERIOD_NS)
    expected = [(number * PERIOD_NS, (number - stride) * PERIOD_NS) for number in range(1, 8)]
    assert engine.stamps == expected[stride:]
    assert [stamp_of(message) for message in stats] == [left for left, _ in engine.stamps]


@pytest.mark.soak
def test_minutes_of_traffic_neither_grow_the_process_nor_the_ages(world):
    """Every output is listened to, all the while; the engine answers half of the pairs."""
    node = world.start(engine=ScriptedEngine(lambda number, engine: engine.sleep(0.05)))
    heard = world.listen(*TYPES)
    cameras = world.stereo()
    world.ready(*cameras)
    sizes, ages_ms = [], []
    for second in range(SOAK_S):
        for _ in range(30):
            now_ns = node.get_clock().now().nanoseconds
            for camera in cameras:
                camera.show(IMAGE, now_ns)
            time.sleep(0.033)
        stats = heard[-1]
        ages_ms += [message.age_ms for message in list(stats)] if second >= WARM_UP_S else []
        for messages in heard:
            messages.clear()
        world.forget_reports()
        node.session.worker.call(lambda engine: engine.forget())
        if second >= WARM_UP_S:
            sizes.append(resident_bytes())
    middle = len(sizes) // 2
    grown = min(sizes[middle:]) - min(sizes[:middle])
    print(f'grown by {grown / MB:.2f} MB in {middle} s; {len(ages_ms)} pairs answered')
    assert grown < 3 * MB
    middle = len(ages_ms) // 2
    assert statistics.median(ages_ms[middle:]) < 2.0 * statistics.median(ages_ms[:middle])
