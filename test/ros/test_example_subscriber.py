# SPDX-License-Identifier: Apache-2.0
"""The SLAM examples run beside the real node and tell what the pictures were made with."""

from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from cmake_project import build, needs_packages
from drone_flight import flight
from example_program import EXAMPLES, ExampleProgram
from oracle_engine import EXACT, OracleEngine
from ros_world import GEOMETRIC, until
from scene import Scene, walk

from mast3r_ros.config import ModelConfig
from mast3r_ros.core.poses import stereo_pose

PERIOD_NS = 125 * 10**6
PYTHON_EXAMPLE = (sys.executable, EXAMPLES / 'slam_subscriber.py')
SEQUENCE = {**GEOMETRIC, 'pairing.mode': 'sequence'}
ONE_CAMERA, TWO_CAMERAS = ('image',), ('left/image', 'right/image')
RIGHT_INFO = ('-r', 'camera_info:=right/camera_info')


@pytest.fixture(scope='module')
def cpp_example(tmp_path_factory):
    """The command of the C++ example, which is built here."""
    folder = tmp_path_factory.mktemp('cpp')
    needs_packages('rclcpp', folder=folder)
    return [build(EXAMPLES / 'cpp', folder / 'build') / 'slam_subscriber']


class Show:
    """A node, its cameras and an example that reads what the node publishes.

    :param shots: for each moment the pictures of the cameras; each camera has its calibration.
    """

    def __init__(self, world, program, topics, cameras, shots, settings, **options):
        self._world, self._program, self._shots = world, program, shots
        self._node = world.start(settings, **options)
        until(lambda: world.node.count_subscribers('/mast3r/matches'), program.says)
        self._cameras = [world.camera(topic) for topic in topics]
        for camera, calibration in zip(self._cameras, cameras, strict=True):
            camera.calibrate(calibration)
        world.ready(*self._cameras)
        self._now_ns = PERIOD_NS
        until(self._is_read, lambda: f'pairs with points are read; {program.says()}')

    def pair(self, number):
        """Show a moment after the one before it; return the line that is printed of it."""
        before_ns, stamp_ns = self._show(number - 1), self._show(number)
        stamps_ns = (stamp_ns, before_ns if len(self._cameras) == 1 else stamp_ns)
        return until(
            lambda: self._program.of_stamps(*stamps_ns),
            lambda: f'a line of {stamps_ns}; {self._program.says()}',
        )

    def _is_read(self):
        """Show moments until a pair comes out with its points: all have found each other."""
        line = self.pair(1) if self._program.lines else self._show(0) and None
        return line and (line.get('agree') or line.get('points'))

    def _show(self, number):
        """Show a moment and see it answered, for the newest pair would win."""
        self._now_ns += PERIOD_NS
        for camera in self._cameras:
            camera.send_info(camera.info)
        self._world.show(self._cameras, self._shots[number], self._now_ns)
        pipeline = self._node.session.pipeline
        until(lambda: pipeline.answered == pipeline.paired, 'the pair is answered')
        return self._now_ns


def drone(world, program, topics, settings=GEOMETRIC, **options):
    """Show the simulated flight, whose last pictures are black."""
    shots = flight(5, rate_hz=7.5, **options)
    count = len(topics)
    pictures = [(shot.left, shot.right)[:count] for shot in shots]
    pictures.append((np.zeros_like(shots[0].left),) * count)
    return Show(world, program, topics, shots[0].cameras[:count], pictures, settings), shots


def off(line, T_2_1):
    """Return how far a printed pose is turned and shifted from the true one: degrees, metres."""
    found = np.array(line['T_2_1'])
    turn = (np.trace(found[:3, :3] @ T_2_1[:3, :3].T) - 1.0) / 2.0
    return np.degrees(np.arccos(min(turn, 1.0))), np.linalg.norm(found[:3, 3] - T_2_1[:3, 3])


def test_of_one_camera_it_tells_how_the_camera_turned_and_where_to_it_moved(world):
    with ExampleProgram(*PYTHON_EXAMPLE) as program:
        show, shots = drone(world, program, ONE_CAMERA, SEQUENCE)
        for number in range(2, 5):
            line = show.pair(number)
            earlier, newer = (shot.T_world_left for shot in shots[number - 1 : number + 1])
            truth = np.linalg.inv(earlier) @ newer
            truth[:3, 3] /= np.linalg.norm(truth[:3, 3])  # the unit is the way itself
            turned_deg, shifted = off(line, truth)
            assert turned_deg < 0.15
            assert shifted < 0.03
            assert line['unit'] == 'unknown'
            assert line['agree'] > 500


@pytest.mark.parametrize('raw', [False, True], ids=['rectified', 'raw'])
def test_of_a_stereo_pair_it_tells_how_the_cameras_are_mounted_in_metres(world, raw):
    with ExampleProgram(*PYTHON_EXAMPLE, '--ros-args', *RIGHT_INFO) as program:
        show, shots = drone(world, program, TWO_CAMERAS, raw=raw)
        line = show.pair(1)
        turned_deg, shifted_m = off(line, stereo_pose(*shots[0].cameras))
        assert turned_deg < 0.02
        assert shifted_m < 0.001
        assert line['unit'] == 'm'


def test_of_one_camera_with_a_metric_network_it_tells_the_motion_in_metres(world):
    shots = walk(Scene(), 4, step_m=0.1, width=320)
    model = ModelConfig(resolution=280)
    engine = OracleEngine(model, errors=EXACT, metric=True).register_shots(shots)
    with ExampleProgram(*PYTHON_EXAMPLE) as program:
        pictures = [(shot.image,) for shot in shots]
        settings = {'pairing.mode': 'sequence', 'matching.subsample': 4}
        show = Show(
            *(world, program, ONE_CAMERA, [shots[0].camera], pictures, settings), engine=engine
        )
        line = show.pair(3)
        earlier, newer = (shot.T_camera_world for shot in shots[2:])
        truth = earlier @ np.linalg.inv(newer)
        turned_deg, shifted_m = off(line, truth)  # its matches are whole pixels of its grid
        assert turned_deg < 0.3
        assert shifted_m < 0.15 * np.linalg.norm(truth[:3, 3])
        assert line['unit'] == 'm'


def test_of_a_pair_that_shows_nothing_it_tells_no_pose(world):
    with ExampleProgram(*PYTHON_EXAMPLE) as program:
        show, shots = drone(world, program, ONE_CAMERA, SEQUENCE)
        line = show.pair(len(shots))
        assert line['agree'] == 0
        assert line['T_2_1'] is None


def test_a_ctrl_c_ends_it_in_silence(world):
    with ExampleProgram(*PYTHON_EXAMPLE) as program:
        until(lambda: world.node.count_subscribers('/camera_info'), 'it is there')
        code, said = program.end()
        assert code == 0
        assert 'Traceback' not in said


def test_the_cpp_example_declares_all_it_is_built_with():
    manifest = pytest.importorskip('catkin_pkg.package').parse_package(str(EXAMPLES / 'cpp'))
    found = re.findall(r'find_package\((\S+)', (EXAMPLES / 'cpp' / 'CMakeLists.txt').read_text())
    declared = [*manifest.buildtool_depends, *manifest.build_depends]
    assert sorted(found) == sorted(item.name for item in declared)


def test_the_cpp_example_reads_the_same(world, cpp_example):
    with ExampleProgram(*cpp_example, '--ros-args', *RIGHT_INFO) as program:
        show, _ = drone(world, program, TWO_CAMERAS)
        heard = world.listen('matches')
        line = show.pair(1)
        message = heard.wait()
        z = np.asarray(message.z)
        ways = np.hypot(*np.subtract([message.u_2, message.v_2], [message.u_1, message.v_1]))
        assert line['matches'] == len(z) > 500
        assert line['points'] == np.isfinite(z).sum() > 500
        assert line['unit'] == 'm'
        np.testing.assert_allclose(line['depth'], np.nanmean(z), rtol=1e-4)
        np.testing.assert_allclose(line['shift'], np.median(ways) / message.width_1, rtol=0.01)
