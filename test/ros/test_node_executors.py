# SPDX-License-Identifier: Apache-2.0
"""Under each executor the node answers, and nodes come and go."""

from __future__ import annotations

import sys
import time

import pytest
from raw_images import smooth_image
from rclpy.executors import SingleThreadedExecutor
from ros_engines import ScriptedEngine
from ros_world import until

from mast3r_ros.config import ExecutorRule
from mast3r_ros.errors import ConfigError
from mast3r_ros.ros.container import Container
from mast3r_ros.ros.engine_hub import EngineHub
from mast3r_ros.ros.executors import make_executor
from mast3r_ros.ros.perception_node import Mast3rNode

IMAGE = smooth_image(96, 64)
EVENTS = 'rclpy.experimental.events_executor'


@pytest.fixture(params=list(ExecutorRule), ids=lambda rule: rule.value)
def rule(request):
    if request.param is ExecutorRule.EVENTS:
        pytest.importorskip(EVENTS, reason='needs an rclpy with the events executor')
    return request.param


def test_the_executors_are_two_different_ones(world, rule):
    is_single = rule is ExecutorRule.SINGLE
    assert isinstance(make_executor(rule), SingleThreadedExecutor) == is_single


def test_the_node_starts_answers_and_reports(world, rule):
    node = Mast3rNode(hub=EngineHub(lambda _config: ScriptedEngine()))
    world.adopt(node, make_executor(rule))
    stats = world.listen('stats')
    cameras = world.stereo()
    world.ready(*cameras)
    for stamp_s in range(1, 6):
        world.show(cameras, IMAGE, stamp_s * 10**9)
        stats.of_stamp(stamp_s * 10**9)
    world.told('pairs', 'pairs answered')
    assert world.change('deactivate')
    assert world.change('cleanup')


def test_a_node_may_be_unloaded_the_moment_it_is_loaded(world, rule):
    """Before its first timer has called: what the executor holds of it must do nothing then."""
    container = Container(hub=EngineHub(lambda _config: ScriptedEngine()))
    world.adopt(container, make_executor(rule))

    def load():
        number = container.load(node_name='brief')
        container.executor.create_task(unload, number)

    def unload(number):
        time.sleep(0.05)  # its first timer is due now, and this is what keeps it waiting
        container.unload(number)

    container.executor.create_task(load)
    until(lambda: container._next_id > 1 and not container.nodes, 'the node has come and gone')
    container.executor.create_task(lambda: container.load(node_name='lasting'))
    world.told('engine', 'nobody listens', node='/lasting')
    names = world.node.get_node_names
    until(lambda: 'brief' not in names(), 'the unloaded node is gone')
    assert len(container.nodes) == 1


def test_an_executor_that_rclpy_lacks_is_an_error_in_words(world, monkeypatch):
    monkeypatch.setitem(sys.modules, EVENTS, None)
    with pytest.raises(ConfigError, match='executor is events, which this rclpy does not have'):
        make_executor(ExecutorRule.EVENTS)
