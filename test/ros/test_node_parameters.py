# SPDX-License-Identifier: Apache-2.0
"""Settings as ROS parameters: complete, guarded, and in force from the next pair on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from raw_images import smooth_image
from rcl_interfaces.srv import DescribeParameters, ListParameters, SetParametersAtomically
from rclpy.parameter import Parameter
from ros_engines import WALL_Z, ScriptedEngine
from ros_world import until

from mast3r_ros.config import NodeConfig
from mast3r_ros.errors import ConfigError
from mast3r_ros.ros.parameters import named_settings

IMAGE = smooth_image(96, 64)
SETTINGS = dict(named_settings(NodeConfig()))
CONFIGS = sorted((Path(__file__).resolve().parents[2] / 'config').glob('*.yaml'))


class Asker:
    """A node that answers one pair after the other."""

    def __init__(self, world, settings=None):
        self.world = world
        self.node = world.start(settings, engine=ScriptedEngine())
        self.stats, self.points, self.matches = world.listen('stats', 'points', 'matches')
        self._cameras = world.stereo()
        world.ready(*self._cameras)
        self._shown = 0

    def answer(self):
        """Show the next pair; return its matches and the depth (H, W) of its cloud."""
        self._shown += 1
        stamp_ns = self._shown * 10**9
        self.world.show(self._cameras, IMAGE, stamp_ns)
        self.stats.of_stamp(stamp_ns)
        cloud = self.points.of_stamp(stamp_ns)
        values = np.frombuffer(bytes(cloud.data), np.float32)
        depth = values.reshape(cloud.height, cloud.width, -1)[..., 2]
        return self.matches.of_stamp(stamp_ns), depth


def test_every_setting_is_a_parameter_with_its_meaning_range_and_default(world):
    world.start({'autostart': False})
    listed = world.call(ListParameters, '/mast3r/list_parameters', ListParameters.Request())
    ours = [name for name in listed.result.names if name in SETTINGS]
    assert sorted(ours) == sorted(SETTINGS)
    request = DescribeParameters.Request(names=ours)
    described = world.call(DescribeParameters, '/mast3r/describe_parameters', request)
    for item in described.descriptors:
        setting = SETTINGS[item.name][0]
        assert item.description == setting.meaning
        assert item.read_only == (not setting.dynamic)
        assert setting.allowed in item.additional_constraints
        assert setting.unit in item.additional_constraints
        ranges = list(item.integer_range) + list(item.floating_point_range)
        assert bool(ranges) == (setting.low is not None)
        if ranges:
            assert ranges[0].to_value == setting.high


def test_dynamic_settings_hold_from_the_next_pair_on(world):
    asker = Asker(world)
    matches, depth = asker.answer()
    assert len(matches.u_1) > 50
    assert depth.shape == (64, 96)
    assert np.isfinite(depth).all()
    assert all(
        result.successful
        for result in world.set(
            matching__top_k=7, output__downsample=2, cloud__max_range_m=WALL_Z - 0.1
        )
    )
    matches, depth = asker.answer()
    assert len(matches.u_1) == 7
    assert depth.shape == (32, 48)
    assert np.isnan(depth).all()
    assert world.set(cloud__max_range_m=0)[0].successful  # a whole number is a number
    assert world.set(cloud__confidence_threshold=4.9)[0].successful
    assert np.isfinite(asker.answer()[1]).all()
    assert world.set(cloud__confidence_threshold=5.1)[0].successful
    assert np.isnan(asker.answer()[1]).all()


def test_always_on_may_change_while_running(world):
    engine = ScriptedEngine()
    world.start(engine=engine)
    cameras = world.stereo()
    world.told('engine', 'nobody listens')
    assert world.set(output__always_on=True)[0].successful
    world.ready(*cameras)
    world.show(cameras, IMAGE, 10**9)
    until(lambda: engine.pairs, 'a pair is answered for nobody')
    assert world.set(output__always_on=False)[0].successful
    until(lambda: not any(camera.is_heard() for camera in cameras), 'the inputs are given up')


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('runtime__backend', 'geometric', ['runtime.backend', 'read-only']),
        ('input__queue_limit', 9, ['input.queue_limit', 'read-only']),
        ('matching__subsample', 0, ['matching.subsample']),
        ('matching__subsample', 257, ['matching.subsample']),
        ('cloud__confidence_threshold', 0.5, ['cloud.confidence_threshold']),
        ('cloud__max_range_m', float('nan'), ['max_range_m']),
        ('matching__top_k', 'many', ['Wrong parameter type']),
        ('matching__reciprocal', 1, ['Wrong parameter type']),
        ('output__downsampel', 2, ['undeclared']),
    ],
)
def test_what_cannot_be_is_refused_with_a_reason_and_changes_nothing(world, name, value, words):
    node = world.start({'autostart': False})
    before = node.config
    (result,) = world.set(**{name: value})
    assert not result.successful
    assert [word for word in words if word not in result.reason] == []
    assert node.config == before


def test_changes_asked_for_together_are_made_together_or_not_at_all(world):
    node = world.start({'autostart': False})
    before = node.config
    request = SetParametersAtomically.Request()
    for name, value in (('matching.top_k', 5), ('model.resolution', 224)):
        request.parameters.append(Parameter(name, value=value).to_parameter_msg())
    answer = world.call(SetParametersAtomically, '/mast3r/set_parameters_atomically', request)
    assert not answer.result.successful
    assert node.config == before
    assert node.get_parameter('matching.top_k').value == before.matching.top_k


@pytest.mark.parametrize(
    ('settings', 'words'),
    [
        ({'matching.topk': 3}, ['matching.topk', 'did you mean matching.top_k']),
        ({'pairing.tolerance_s': 2.0}, ['pairing.tolerance_s', '2.0', 'from 0 to 1']),
        ({'runtime.backend': 'gpu'}, ['runtime.backend', 'gpu', 'geometric']),
        ({'matching.subsample': 'all'}, ['matching.subsample', "'all'"]),
        ({'input.mask_file_1': 3}, ['input.mask_file_1']),
    ],
)
def test_a_start_with_wrong_settings_is_refused_in_words(world, settings, words):
    with pytest.raises(ConfigError) as caught:
        world.start(settings)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_shipped_parameter_files_are_taken_as_they_are(world, path):
    arguments = ['--ros-args', '--params-file', str(path), '-p', 'autostart:=false']
    node = world.start(cli_args=arguments)
    assert node.config.replace(autostart=True) == NodeConfig.from_yaml(path)


def test_values_as_yaml_reads_them_are_understood(world):
    """YAML makes true of a word and a whole number of 1."""
    arguments = ['--ros-args', '-p', 'input.rectified:=true', '-p', 'cloud.max_range_m:=4']
    node = world.start({'autostart': False}, cli_args=arguments)
    assert node.config.input.rectified.value == 'true'
    assert node.config.cloud.max_range_m == 4.0
