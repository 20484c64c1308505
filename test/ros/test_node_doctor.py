# SPDX-License-Identifier: Apache-2.0
"""``ros2 run mast3r_ros doctor`` prints what the node says of itself, word by word."""

from __future__ import annotations

import subprocess
import sys

import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from raw_images import smooth_image
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_engines import ScriptedEngine
from ros_world import until
from scene import small_camera
from sensor_msgs.msg import Image

from mast3r_ros.ros.doctor import EXIT_NO_NODE, EXIT_WRONG, report

IMAGE = smooth_image(96, 64)
MS = 10**6


def consult(*words):
    """Return what the program prints, and its exit code."""
    answer = subprocess.run(
        [sys.executable, '-m', 'mast3r_ros.ros.doctor', *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60.0,
    )
    assert answer.stderr == ''
    return answer.stdout, answer.returncode


def silent_camera(world):
    """A camera's topic whose publisher cannot be heard, and no other."""
    profile = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
    world.node.create_publisher(Image, 'left/image', profile)
    world.camera('right/image')


def far_apart(world):
    left, right = world.stereo()
    world.ready(left, right)
    for number in range(1, 60):
        world.deliver(left, left.picture(IMAGE, number * 33 * MS))
        world.deliver(right, right.picture(IMAGE, number * 33 * MS + 15 * MS))


def wrong_size(world):
    cameras = world.stereo()
    for camera, baseline_m in zip(cameras, (0.0, 0.3), strict=True):
        camera.calibrate(small_camera(96, 64, baseline_m))
    world.ready(*cameras)
    world.show(cameras, smooth_image(48, 32), 33 * MS)


TROUBLES = {
    'no cameras': (
        lambda world: None,
        ['nobody publishes /left/image; start the camera or remap'],
    ),
    'a quality of service': (
        silent_camera,
        ['qos_overrides./left/image.subscription.reliability to best_effort'],
    ),
    'stamps': (far_apart, ['15.0 ms apart', 'raise pairing.tolerance_s']),
    'sizes': (wrong_size, ['pairs failed: /left/camera_info', '96x64', '48x32']),
}


@pytest.mark.parametrize('what', TROUBLES)
def test_the_dead_link_and_its_cure_are_printed(world, what):
    make, expected = TROUBLES[what]
    world.start({'input.queue': 'all'}, engine=ScriptedEngine())
    world.listen('points')
    make(world)
    part = 'inputs' if what in ('no cameras', 'a quality of service') else 'pairs'
    told = world.told(part, *expected)
    if part == 'inputs':  # it lasts, so the program hears it too
        text, code = consult('--node', '/mast3r', '--wait', '20')
        assert code == EXIT_WRONG
    else:
        text, code = report([told])
    assert code == EXIT_WRONG
    assert all(words in text for words in expected)
    assert f'[FAIL] /mast3r: {part}: ' in text


def test_a_healthy_node_is_well_and_every_figure_is_printed(world):
    world.start(engine=ScriptedEngine())
    until(lambda: world.health('engine'), 'the node reports')
    text, code = consult('--wait', '20')
    assert code == 0
    lines = text.splitlines()
    assert '[ok  ] /mast3r: engine: nobody listens to any output, so nothing is computed' in lines
    for part in ('engine', 'inputs', 'pairs'):
        assert any(line.startswith(f'[ok  ] /mast3r: {part}: ') for line in lines)
    assert '         left_received: 0' in lines
    assert '         answered: 0' in lines


def test_one_node_is_singled_out_by_its_name(world):
    hurt = {'input.mask_file_1': '/no/such/mask.png'}
    world.start(engine=ScriptedEngine(), name='well')
    world.start(hurt, engine=ScriptedEngine(), name='ill')
    world.told('engine', 'configure failed', node='/ill')
    assert consult('--node', 'well', '--wait', '20')[1] == 0
    text, code = consult('--wait', '20')
    assert code == EXIT_WRONG
    assert '[FAIL] /ill: engine: configure failed: ' in text
    assert '/no/such/mask.png' in text


def test_nobody_there_is_said_with_what_may_be_the_reason(world):
    text, code = consult('--node', '/nobody', '--wait', '1')
    assert code == EXIT_NO_NODE
    assert 'no /nobody node was heard on /diagnostics' in text
    assert 'ROS_DOMAIN_ID' in text


def test_reports_of_other_programs_do_not_mix_in(world):
    world.start(engine=ScriptedEngine())
    until(lambda: world.health('engine'), 'the node reports')
    foreign = DiagnosticStatus(level=b'\x02', name='lidar: pairs', hardware_id='17', message='hot')
    publisher = world.node.create_publisher(DiagnosticArray, '/diagnostics', 10)
    world.node.create_timer(0.1, lambda: publisher.publish(DiagnosticArray(status=[foreign])))
    text, code = consult('--wait', '20')
    assert code == 0
    assert 'hot' not in text
