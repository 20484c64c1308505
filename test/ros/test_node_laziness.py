# SPDX-License-Identifier: Apache-2.0
"""Nothing is done for nobody: no input is taken in, no part computed that is not listened to."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from oracle_engine import EXACT, OracleEngine
from ros_engines import ScriptedEngine
from ros_world import until
from scene import Scene, stereo_shots

from mast3r_ros.core.products import Product
from mast3r_ros.core.results import Output
from mast3r_ros.ros.health import PERIOD_S

SUPPORT = Path(__file__).resolve().parents[1] / 'support'
SHOTS = stereo_shots(Scene(), 0.3)
IMAGES = [shot.image for shot in SHOTS]
IDLE_SHARE = 0.02  # of one core
MEASURED_S = 5.0


def test_inputs_are_subscribed_to_only_while_somebody_listens(world):
    world.start(engine=ScriptedEngine())
    cameras = world.stereo()
    world.told('engine', 'nobody listens')
    assert not any(camera.is_heard() for camera in cameras)
    for _ in range(2):
        heard = world.listen('matches')
        until(lambda: all(camera.is_heard() for camera in cameras), 'the inputs are subscribed to')
        world.leave(heard)
        until(lambda: not any(camera.is_heard() for camera in cameras), 'they are given up again')


def test_always_on_works_for_nobody(world):
    engine = ScriptedEngine()
    node = world.start({'output.always_on': True}, engine=engine)
    cameras = world.stereo()
    until(lambda: node.session, 'the node is configured')
    world.ready(*cameras)
    world.show(cameras, IMAGES, 10**9)
    until(lambda: engine.asked, 'a pair is answered')
    assert engine.asked == [Output.CLOUD_1 | Output.CLOUD_2 | Output.WARP]


@pytest.mark.parametrize(
    ('names', 'asked'),
    [
        (['points'], Output.CLOUD_1),
        (['depth/image', 'depth/camera_info', 'confidence'], Output.CLOUD_1),
        (['points_2'], Output.CLOUD_2),
        (['confidence_2', 'confidence'], Output.CLOUD_1 | Output.CLOUD_2),
        (['matches'], Output.DESC),
        (['matches/image'], Output.DESC),
        (['matches', 'points'], Output.CLOUD_1 | Output.DESC),
        (['stats'], Output.CLOUD_1),
    ],
)
def test_only_what_is_listened_to_is_computed(world, names, asked):
    engine = OracleEngine(errors=EXACT, metric=True).register_shots(SHOTS)
    world.start(engine=engine)
    heard = world.listen(*names)
    cameras = world.stereo()
    world.ready(*cameras)
    world.show(cameras, IMAGES, 10**9)
    (heard if len(names) == 1 else heard[0]).wait()
    assert engine.asked == [asked]


def test_parts_are_computed_from_when_somebody_begins_to_listen_to_when_he_leaves(world):
    engine = OracleEngine(errors=EXACT, metric=True).register_shots(SHOTS)
    node = world.start(engine=engine)
    stats = world.listen('stats')
    cameras = world.stereo()
    world.ready(*cameras)

    def answer(stamp_ns):
        world.show(cameras, IMAGES, stamp_ns)
        stats.of_stamp(stamp_ns)
        return engine.asked[-1]

    assert answer(10**9) == Output.CLOUD_1
    matches = world.listen('matches')
    until(lambda: wants_matches(node), 'the node notices the listener')
    assert answer(2 * 10**9) == Output.DESC
    world.leave(matches)
    until(lambda: not wants_matches(node), 'the node notices that the listener left')
    assert answer(3 * 10**9) == Output.CLOUD_1


def wants_matches(node):
    return bool(node.session.pipeline.wanted & Product.MATCHES)


CAMERAS = """
import sys, time
sys.path.insert(0, sys.argv[1])
import numpy as np, rclpy
from ros_cameras import CameraDouble
rclpy.init()
node = rclpy.create_node('cameras')
cameras = [CameraDouble(node, f'{side}/image', reliable=False) for side in ('left', 'right')]
image = np.zeros((480, 640, 3), np.uint8)
print('running', flush=True)
while True:
    for camera in cameras:
        camera.show(image, time.time_ns())
    time.sleep(1 / 30)
"""


def test_nobody_listening_costs_less_than_a_fiftieth_of_a_core(world):
    """Two cameras of another process send at 30 Hz all the while; the engine is ready."""
    world.report_period_s = PERIOD_S
    node = world.start(engine=ScriptedEngine())
    world.told('engine', 'nobody listens')
    cameras = subprocess.Popen(
        [sys.executable, '-c', CAMERAS, str(SUPPORT)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert cameras.stdout.readline() == 'running\n'
        until(lambda: node.count_publishers('/right/image'), 'the cameras are discovered')
        time.sleep(1.0)  # discovery settles
        with world.quiet():
            wall_s, cpu_s = time.perf_counter(), time.process_time()
            time.sleep(MEASURED_S)
            share = (time.process_time() - cpu_s) / (time.perf_counter() - wall_s)
    finally:
        cameras.kill()
        cameras.wait()
    assert share < IDLE_SHARE, f'{share:.1%} of a core'
    print(f'idle: {share:.2%} of a core')
