# SPDX-License-Identifier: Apache-2.0
"""The diagnostics name the dead link and its cure."""

from __future__ import annotations

import threading

import pytest
from raw_images import smooth_image
from rclpy.qos import DurabilityPolicy, QoSProfile
from ros_cameras import camera_info
from ros_engines import ScriptedEngine
from ros_world import until, values_of
from scene import small_camera
from sensor_msgs.msg import CameraInfo

from mast3r_ros.core.worker import ENGINE_THREAD

IMAGE = smooth_image(96, 64)
S, MS = 10**9, 10**6


def test_a_healthy_node_says_so_with_figures(world):
    world.start(engine=ScriptedEngine())
    stats = world.listen('stats')
    cameras = world.stereo()
    for camera, baseline_m in zip(cameras, (0.0, 0.3), strict=True):
        camera.calibrate(small_camera(96, 64, baseline_m))
    world.ready(*cameras)
    now_ns = world.node.get_clock().now().nanoseconds
    world.show(cameras, IMAGE, now_ns)
    stats.of_stamp(now_ns)
    told = world.told('pairs', '1 pairs answered')
    assert told.level == world.health('engine').level == world.health('inputs').level == b'\x00'
    assert told.hardware_id == '/mast3r'
    assert (world.value('engine', 'name'), world.value('engine', 'state')) == ('scripted', 'ready')
    assert world.value('inputs', 'left_received') == world.value('inputs', 'right_received') == '1'
    values = values_of(told)
    assert values['scale_source'] == 'model'
    assert float(values['rate_hz']) > 0.0
    assert 0.0 < float(values['age_ms_p50']) <= float(values['age_ms_p99'])


def test_missing_publishers_are_named_with_the_topic(world):
    world.start(engine=ScriptedEngine(), cli_args=['--ros-args', '-r', 'left/image:=/front/left'])
    world.camera('right/image')
    world.listen('points')
    told = world.told('inputs', 'left: nobody publishes /front/left', 'remap')
    assert told.level == b'\x02'
    world.told('inputs', 'right: no image has come on /right/image yet')


def test_a_camera_that_falls_silent_is_named(world):
    world.start(engine=ScriptedEngine())
    world.listen('points')
    left, right = world.stereo()
    world.ready(left, right)
    world.show((left, right), IMAGE, 1 * S)
    told = world.told('inputs', 'left: no image has come on /left/image for')
    assert told.level == b'\x01'


def test_a_quality_of_service_that_cannot_be_heard_is_named_until_it_can(world):
    world.start({'input.queue': 'all'}, engine=ScriptedEngine())  # asks for reliable images
    stats = world.listen('stats')
    left, right = world.camera('left/image', reliable=False), world.camera('right/image')
    told = world.told(
        'inputs', '/left/image offers', 'qos_overrides./left/image.subscription.reliability'
    )
    assert told.level == b'\x02'
    assert 'best_effort' in told.message
    left.close()
    cameras = world.camera('left/image'), right
    world.ready(*cameras)
    world.show(cameras, IMAGE, 1 * S)
    stats.of_stamp(1 * S)
    until(lambda: 'offers' not in world.health('inputs').message, 'it is not named any more')


def test_the_quality_of_service_can_be_overridden_as_the_diagnostics_say(world):
    settings = {
        'input.queue': 'all',
        'qos_overrides./left/image.subscription.reliability': 'best_effort',
    }
    world.start(settings, engine=ScriptedEngine())
    stats = world.listen('stats')
    cameras = world.camera('left/image', reliable=False), world.camera('right/image')
    world.ready(*cameras)
    world.show(cameras, IMAGE, 1 * S)
    stats.of_stamp(1 * S)


def test_stamps_that_lie_too_far_apart_are_named_with_the_gap_and_the_tolerance(world):
    node = world.start({'pairing.tolerance_s': 0.004}, engine=ScriptedEngine())
    world.listen('points')
    left, right = world.stereo()
    world.ready(left, right)
    for number in range(1, 6):
        world.deliver(left, left.picture(IMAGE, number * 33 * MS))
        world.deliver(right, right.picture(IMAGE, number * 33 * MS + 7 * MS))
    told = world.told('pairs', '7.0 ms apart', 'tolerance is 4 ms', 'pairing.tolerance_s')
    assert told.level == b'\x02'
    assert node.session.pipeline.answered == 0


def test_cameras_that_set_no_stamps_are_named(world):
    world.start(engine=ScriptedEngine())
    world.listen('points')
    cameras = world.stereo()
    world.ready(*cameras)
    world.show(cameras, IMAGE, 0)
    world.told('pairs', '1 pairs answered')
    world.show(cameras, IMAGE, 0)
    told = world.told('pairs', 'images had the stamp of the one before', 'set header.stamp')
    assert told.level == b'\x01'


def test_a_lost_frame_before_a_slow_answer_is_no_reason_to_blame_the_cameras(world):
    """One stereo partner is missing, then the engine takes its time: pairs are there all along."""
    go_on = threading.Event()
    world.start(engine=ScriptedEngine(lambda number, engine: go_on.wait(30.0) and None))
    stats = world.listen('stats')
    cameras = left, _ = world.stereo()
    world.ready(*cameras)
    try:
        world.show(cameras, IMAGE, 33 * MS)
        world.deliver(left, left.picture(IMAGE, 66 * MS))
        for number in range(3, 40):
            world.show(cameras, IMAGE, number * 33 * MS)
        until(lambda: world.value('pairs', 'dropped_no_partner') == '1', 'the loss is counted')
        assert not [report for report in world.reports('pairs') if 'apart' in report.message]
    finally:
        go_on.set()
    stats.of_stamp(39 * 33 * MS)


def test_a_missing_calibration_is_named_with_its_topic(world):
    arguments = ['--ros-args', '-r', 'left/image:=/rig/cam0/image_raw']
    world.start(engine=ScriptedEngine(), cli_args=arguments)
    world.listen('points')
    cameras = world.camera('/rig/cam0/image_raw'), world.camera('right/image')
    world.ready(*cameras)
    world.show(cameras, IMAGE, 1 * S)
    told = world.told(
        'inputs', 'no calibration has come on /rig/cam0/camera_info', '/right/camera_info'
    )
    assert told.level == b'\x01'


def test_a_calibration_that_was_sent_once_long_ago_is_heard(world):
    profile = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    for side, baseline_m in (('left', 0.0), ('right', 0.3)):
        publisher = world.node.create_publisher(CameraInfo, f'{side}/camera_info', profile)
        publisher.publish(camera_info(small_camera(96, 64, baseline_m)))
    node = world.start(engine=ScriptedEngine())
    world.listen('points')
    until(
        lambda: node.session and all(item.calibration.camera for item in node.session.inputs),
        'both calibrations are heard',
    )


@pytest.mark.parametrize(('age_s', 'words'), [(3600, '3600 s old'), (-100, '-100 s old')])
def test_stamps_of_another_clock_are_named(world, age_s, words):
    world.start(engine=ScriptedEngine())
    stats = world.listen('stats')
    cameras = world.stereo()
    world.ready(*cameras)
    stamp_ns = world.node.get_clock().now().nanoseconds - age_s * S
    world.show(cameras, IMAGE, stamp_ns)
    stats.of_stamp(stamp_ns)
    told = world.told('pairs', words, 'use_sim_time')
    assert told.level == b'\x01'


def test_reports_of_two_nodes_are_told_apart(world):
    world.start({'autostart': False}, engine=ScriptedEngine(), name='front')
    world.start({'autostart': False}, engine=ScriptedEngine(), name='rear', namespace='/arm')
    assert world.told('engine', 'not active', node='/front').hardware_id == '/front'
    assert world.told('engine', 'not active', node='/arm/rear').hardware_id == '/arm/rear'


def test_reports_start_anew_with_each_configuration(world):
    world.start(engine=ScriptedEngine())
    stats = world.listen('stats')
    cameras = world.stereo()
    for stamp_s in (1, 2):
        world.ready(*cameras)
        world.show(cameras, IMAGE, stamp_s * S)
        stats.of_stamp(stamp_s * S)
        world.told('pairs', '1 pairs answered')
        for step in ('deactivate', 'cleanup', 'configure', 'activate'):
            assert world.change(step)
    until(lambda: world.value('pairs', 'answered') == '0', 'counting starts at nothing')
    assert [thread.name for thread in threading.enumerate()].count(ENGINE_THREAD) == 1
