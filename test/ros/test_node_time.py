# SPDX-License-Identifier: Apache-2.0
"""Time that starts again: ~/reset, a bag that loops, a simulation that restarts."""

from __future__ import annotations

import pytest
from oracle_engine import EXACT, OracleEngine
from raw_images import smooth_image
from ros_engines import ScriptedEngine
from ros_world import until
from rosgraph_msgs.msg import Clock
from scene import Scene, stereo_shots
from std_srvs.srv import Trigger

IMAGE = smooth_image(96, 64)
S = 10**9
SIM = {'use_sim_time': True}


def reset(world):
    return world.call(Trigger, '/mast3r/reset', Trigger.Request())


class SimClock:
    """Publishes /clock; ``node`` is what must have heard it."""

    def __init__(self, world, node):
        self._node = node
        self._publisher = world.node.create_publisher(Clock, '/clock', 10)
        until(self._publisher.get_subscription_count, 'the node listens to /clock')

    def show(self, time_s):
        """Set the time and wait until the node has it."""
        message = Clock()
        message.clock.sec = time_s

        def arrived():
            self._publisher.publish(message)
            return self._node.get_clock().now().nanoseconds == time_s * S

        until(arrived, f'the node knows that it is {time_s} s')


def test_reset_forgets_earlier_frames(world):
    engine = ScriptedEngine()
    world.start({'pairing.mode': 'sequence'}, engine=engine)
    stats, camera = world.listen('stats'), world.camera('image')
    world.ready(camera)
    for stamp_s in (1, 2):
        world.show([camera], IMAGE, stamp_s * S)
    stats.of_stamp(2 * S)
    assert reset(world).success
    for stamp_s in (3, 4):
        world.show([camera], IMAGE, stamp_s * S)
    stats.of_stamp(4 * S)
    assert engine.stamps == [(2 * S, 1 * S), (4 * S, 3 * S)]


def test_reset_forgets_an_image_that_waits_for_its_partner(world):
    engine = ScriptedEngine()
    node = world.start(engine=engine)
    stats = world.listen('stats')
    left, right = cameras = world.stereo()
    world.ready(*cameras)
    world.deliver(left, left.picture(IMAGE, 1 * S))
    assert reset(world).success
    world.deliver(right, right.picture(IMAGE, 1 * S))
    world.show(cameras, IMAGE, 2 * S)
    stats.of_stamp(2 * S)
    assert engine.stamps == [(2 * S, 2 * S)]
    assert node.session.drops == {'reset': 1, 'no_partner': 1}


def test_reset_forgets_the_last_scale(world):
    shots = stereo_shots(Scene(), 0.3)
    engine = OracleEngine(errors=EXACT, scale=0.5).register_shots(shots)
    node = world.start({'input.rectified': 'true', 'matching.subsample': 2}, engine=engine)
    stats = world.listen('stats')
    cameras = world.stereo()
    for camera, shot in zip(cameras, shots, strict=True):
        camera.calibrate(shot.camera)
    world.ready(*cameras)
    images = [shot.image for shot in shots]

    def scale_of(stamp_s):
        world.show(cameras, images, stamp_s * S)
        message = stats.of_stamp(stamp_s * S)
        return message.scale_source, message.scale

    assert scale_of(1) == ('stereo_baseline', pytest.approx(2.0, rel=0.03))
    assert world.set(matching__confidence_threshold=1e6)[0].successful  # not a match any more
    assert scale_of(2) == ('stereo_baseline', pytest.approx(2.0, rel=0.03))
    assert node.session.pipeline.scales_held == 1
    assert reset(world).success
    assert scale_of(3) == ('none', 1.0)


def test_reset_of_a_node_that_does_nothing_yet_succeeds(world):
    world.start({'autostart': False}, engine=ScriptedEngine())
    answer = reset(world)
    assert answer.success
    assert answer.message


def test_simulated_time_that_jumps_back_resets(world):
    engine = ScriptedEngine()
    node = world.start({**SIM, 'pairing.mode': 'sequence'}, engine=engine)
    clock = SimClock(world, node)
    stats, camera = world.listen('stats'), world.camera('image')
    world.ready(camera)
    clock.show(100)
    for stamp_s in (98, 99):
        world.show([camera], IMAGE, stamp_s * S)
    stats.of_stamp(99 * S)
    clock.show(50)
    assert node.session.drops.get('reset', 0) == 0  # both frames were answered
    for stamp_s in (150, 151):  # stamps alone would not tell
        world.show([camera], IMAGE, stamp_s * S)
    stats.of_stamp(151 * S)
    assert engine.stamps == [(99 * S, 98 * S), (151 * S, 150 * S)]


def test_simulated_time_that_goes_on_resets_nothing(world):
    engine = ScriptedEngine()
    node = world.start({**SIM, 'pairing.mode': 'sequence'}, engine=engine)
    clock = SimClock(world, node)
    stats, camera = world.listen('stats'), world.camera('image')
    world.ready(camera)
    for stamp_s in (10, 11, 500):
        clock.show(stamp_s)
        world.show([camera], IMAGE, stamp_s * S)
    stats.of_stamp(500 * S)
    assert engine.stamps == [(11 * S, 10 * S), (500 * S, 11 * S)]


def test_ages_are_measured_on_simulated_time(world):
    node = world.start(SIM, engine=ScriptedEngine())
    clock = SimClock(world, node)
    stats, cameras = world.listen('stats'), world.stereo()
    world.ready(*cameras)
    clock.show(1000)
    world.show(cameras, IMAGE, 998 * S)
    assert stats.of_stamp(998 * S).age_ms == pytest.approx(2000.0)


def test_a_bag_that_loops_goes_on_giving_pairs(world):
    """Stereo with every tenth frame of one side lost, played three times without a pause."""
    engine = ScriptedEngine()
    node = world.start({'input.queue': 'all'}, engine=engine)
    stats = world.listen('stats')
    left, right = world.stereo()
    world.ready(left, right)
    for _ in range(3):
        for number in range(1, 21):
            world.deliver(left, left.picture(IMAGE, number * S))
            if number % 10:
                world.deliver(right, right.picture(IMAGE, number * S))
    until(lambda: len(stats) == 3 * 18, 'every pair of every loop is answered')
    assert engine.stamps == [(number * S,) * 2 for number in range(1, 21) if number % 10] * 3
    assert node.session.pipeline.answered == 54
