# SPDX-License-Identifier: Apache-2.0
"""Nodes in one container share an engine, come and go, and do not hinder each other."""

from __future__ import annotations

import pytest
from raw_images import smooth_image
from ros_engines import ScriptedEngine
from ros_world import until

from mast3r_ros.errors import InvalidInput
from mast3r_ros.ros.container import Container
from mast3r_ros.ros.engine_hub import EngineHub

IMAGE = smooth_image(96, 64)
S = 10**9
NAMES = ('/front/mast3r', '/rear/mast3r', '/arm/eye')


@pytest.fixture
def engines():
    return []


@pytest.fixture
def container(world, engines):
    def make(_config):
        engines.append(ScriptedEngine())
        return engines[-1]

    made = world.adopt(Container(names=NAMES, hub=EngineHub(make)))
    until(lambda: len(made.nodes) == len(NAMES), 'the nodes are loaded')
    return made


def cameras_of(world, name):
    namespace = name.rpartition('/')[0]
    return [world.camera(f'{namespace}/{side}/image') for side in ('left', 'right')]


def test_three_nodes_in_one_container_answer_with_one_engine(world, engines, container):
    heard = {name: world.listen('stats', node=name) for name in NAMES}
    cameras = {name: cameras_of(world, name) for name in NAMES}
    world.ready(*(camera for pair in cameras.values() for camera in pair))
    for stamp_s, name in enumerate(NAMES, 1):
        world.show(cameras[name], IMAGE, stamp_s * S)
        heard[name].of_stamp(stamp_s * S)
    assert len(engines) == 1
    assert [len(messages) for messages in heard.values()] == [1, 1, 1]


def test_a_node_can_be_unloaded_and_its_name_used_again(world, engines, container):
    number = next(
        number
        for number, node in container.nodes.items()
        if node.get_fully_qualified_name() == '/arm/eye'
    )
    container.executor.create_task(container.unload, number)
    until(lambda: number not in container.nodes, 'the node is unloaded')
    names = world.node.get_node_names_and_namespaces
    until(lambda: ('eye', '/arm') not in names(), 'it is gone from the graph')
    assert not engines[0].closed.is_set()
    container.executor.create_task(lambda: container.load(node_name='eye', namespace='/arm'))
    until(lambda: len(container.nodes) == len(NAMES), 'it is loaded again')
    world.told('engine', 'nobody listens', node='/arm/eye')
    assert len(engines) == 1


def test_a_name_that_is_taken_and_a_node_that_is_none_are_refused(container):
    with pytest.raises(InvalidInput, match='loaded already'):
        container.load(node_name='eye', namespace='/arm')
    with pytest.raises(InvalidInput, match='known are mast3r_ros::Mast3rNode'):
        container.load('image_proc::RectifyNode')
    with pytest.raises(InvalidInput, match='no node 77 here'):
        container.unload(77)
    assert len(container.nodes) == len(NAMES)


def test_time_that_stands_still_does_not_keep_the_nodes_from_being_loaded(world):
    arguments = ['--ros-args', '-p', 'use_sim_time:=true']
    hub = EngineHub(lambda _config: ScriptedEngine())
    made = world.adopt(Container(names=('one',), hub=hub, cli_args=arguments))
    until(lambda: made.nodes, 'the node is loaded')
