# SPDX-License-Identifier: Apache-2.0
"""Nodes in one container share an engine, come and go, and do not hinder each other."""

from __future__ import annotations

import pytest
import rclpy
from raw_images import smooth_image
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter
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
    until(lambda: engines, 'their engine is made')
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


class Composer:
    """Asks a container as ``ros2 component`` and launch files do."""

    def __init__(self, world, container):
        self._world = world
        self._place = f'{container.get_fully_qualified_name()}/_container'

    def load(self, name, namespace='', rules=(), plugin='mast3r_ros::Mast3rNode', **parameters):
        from composition_interfaces.srv import LoadNode

        request = LoadNode.Request(
            package_name='mast3r_ros',
            plugin_name=plugin,
            node_name=name,
            node_namespace=namespace,
            remap_rules=list(rules),
            parameters=[
                Parameter(key.replace('__', '.'), value=value).to_parameter_msg()
                for key, value in parameters.items()
            ],
        )
        return self._world.call(LoadNode, f'{self._place}/load_node', request)

    def unload(self, number):
        from composition_interfaces.srv import UnloadNode

        request = UnloadNode.Request(unique_id=number)
        return self._world.call(UnloadNode, f'{self._place}/unload_node', request)

    def nodes(self):
        from composition_interfaces.srv import ListNodes

        answer = self._world.call(ListNodes, f'{self._place}/list_nodes', ListNodes.Request())
        return dict(zip(answer.unique_ids, answer.full_node_names, strict=True))


@pytest.fixture
def composer(world, container):
    pytest.importorskip('composition_interfaces', reason='needs composition_interfaces')
    return Composer(world, container)


def test_other_programs_load_list_and_unload_nodes_by_service(world, container, composer):
    rules = ['left/image:=/rig/left', 'right/image:=/rig/right']
    answer = composer.load('eye', '/tail', rules, pairing__tolerance_s=0.25)
    assert (answer.success, answer.full_node_name) == (True, '/tail/eye')
    assert composer.nodes() == {1: NAMES[0], 2: NAMES[1], 3: NAMES[2], 4: '/tail/eye'}
    node = container.nodes[answer.unique_id]
    assert node.config.pairing.tolerance_s == 0.25
    until(lambda: node.session, 'the node configures itself')
    assert [item.image_topic for item in node.session.inputs] == ['/rig/left', '/rig/right']
    assert composer.unload(answer.unique_id).success
    assert list(composer.nodes().values()) == list(NAMES)


WRONG_LOADS = {
    'a name that is taken': ({'name': 'eye', 'namespace': '/arm'}, 'loaded already'),
    'a name that is none': ({'name': 'an eye'}, 'an eye'),
    'an unknown node': ({'name': 'eye', 'plugin': 'image_proc::RectifyNode'}, 'RectifyNode'),
    'an unknown setting': ({'name': 'eye', 'matching__topk': 3}, 'did you mean matching.top_k'),
    'a wrong value': ({'name': 'eye', 'matching__top_k': -3}, 'matching.top_k is -3'),
    'a rule that is none': ({'name': 'eye', 'rules': ['left/image']}, 'left/image'),
}


@pytest.mark.parametrize('what', WRONG_LOADS)
def test_what_cannot_be_loaded_is_answered_in_words(container, composer, what):
    request, words = WRONG_LOADS[what]
    answer = composer.load(**request)
    assert not answer.success
    assert words in answer.error_message
    assert len(composer.nodes()) == len(NAMES)


def test_what_cannot_be_unloaded_is_answered_in_words(composer):
    answer = composer.unload(77)
    assert (answer.success, 'no node 77 here' in answer.error_message) == (False, True)


def test_time_that_stands_still_does_not_keep_the_nodes_from_being_loaded(world):
    arguments = ['--ros-args', '-p', 'use_sim_time:=true']
    hub = EngineHub(lambda _config: ScriptedEngine())
    made = world.adopt(Container(names=('one',), hub=hub, cli_args=arguments))
    until(lambda: made.nodes, 'the node is loaded')


@pytest.fixture
def named():
    """Make containers in a process with such ROS arguments; each loads its nodes at once."""
    context = Context()
    made = []

    def make(*arguments, names=()):
        rclpy.init(args=['--ros-args', *arguments], context=context)
        hub = EngineHub(lambda _config: ScriptedEngine())
        made.append(Container(names=names, hub=hub, context=context))
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(made[0])
        while len(made[0].nodes) < len(names):
            executor.spin_once(timeout_sec=5.0)
        return made[0]

    yield make
    for container in made:
        container.destroy_node()
    rclpy.shutdown(context=context)


def names_of(container):
    return [node.get_fully_qualified_name() for node in container.nodes.values()]


def test_a_container_with_a_name_leaves_its_nodes_theirs(named):
    """Launch files name a container by rules that hold for its whole process."""
    rules = ('-r', '__node:=my_container', '-r', '__ns:=/robot', '-r', 'left/image:=/rig/left')
    setting = ('-p', 'rear:pairing.tolerance_s:=0.25')
    container = named(*rules, *setting, names=['front', '/rear', '/arm/eye'])
    container.load(node_name='tail', namespace='/wing', cli_args=['--ros-args', '-r', 'a:=b'])
    assert container.get_fully_qualified_name() == '/robot/my_container'
    assert names_of(container) == ['/robot/front', '/rear', '/arm/eye', '/wing/tail']
    tolerances = [node.config.pairing.tolerance_s for node in container.nodes.values()]
    assert [tolerance == 0.25 for tolerance in tolerances] == [False, True, False, False]
    for node in container.nodes.values():
        assert node.resolve_topic_name('left/image') == '/rig/left'


@pytest.mark.parametrize('name', ['a b', '', 'arm/', '/an arm/eye'])
def test_a_name_that_no_node_can_have_is_refused_in_one_line(named, name):
    with pytest.raises(InvalidInput, match=r'^no node can be called .*: Invalid n[^\n]*$'):
        named(names=[name])
