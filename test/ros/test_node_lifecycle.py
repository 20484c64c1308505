# SPDX-License-Identifier: Apache-2.0
"""The lifecycle: no transition blocks, fails in silence or leaves anything behind."""

from __future__ import annotations

import gc
import threading

import cv2
import numpy as np
import pytest
from raw_images import smooth_image
from ros_engines import ScriptedEngine
from ros_world import resident_bytes, stamp_of, until

from mast3r_ros.core.worker import ENGINE_THREAD
from mast3r_ros.errors import ConfigError
from mast3r_ros.ros import session
from mast3r_ros.ros.engine_hub import EngineHub
from mast3r_ros.ros.perception_node import Mast3rNode
from mast3r_ros.ros.session import Session

IMAGE = smooth_image(96, 64)
MANAGED = {'autostart': False}
MB = 10**6


def show(world, cameras, stamp_ns):
    world.ready(*cameras)
    world.show(cameras, IMAGE, stamp_ns)


def engine_threads():
    return [thread for thread in threading.enumerate() if thread.name == ENGINE_THREAD]


def test_by_default_the_node_starts_itself(world):
    world.start(engine=ScriptedEngine())
    until(lambda: world.state() == 'active', 'the node is active')


def test_a_managed_node_waits_for_its_manager(world):
    engine = ScriptedEngine()
    world.start(MANAGED, engine=engine)
    world.told('engine', 'not active')
    assert world.state() == 'unconfigured'
    assert world.change('configure')
    assert world.state() == 'inactive'
    stats, cameras = world.listen('stats'), world.stereo()
    assert world.change('activate')
    show(world, cameras, 10**9)
    stats.of_stamp(10**9)
    assert world.change('deactivate')
    until(lambda: not any(camera.is_heard() for camera in cameras), 'images are not taken in')
    assert not engine.closed.is_set()
    assert world.change('cleanup')
    assert engine.closed.wait(30.0)
    assert world.state() == 'unconfigured'


def test_a_manager_that_is_faster_than_autostart_is_left_alone(world):
    hub = EngineHub(lambda _config: ScriptedEngine())
    node = Mast3rNode(hub=hub)
    node.trigger_configure()
    world.adopt(node)
    world.told('engine', 'not active')
    assert world.state() == 'inactive'


def test_transitions_that_the_state_does_not_have_are_refused_in_peace(world):
    world.start(MANAGED, engine=ScriptedEngine())
    assert not world.change('activate')
    assert not world.change('cleanup')
    assert world.change('configure')
    assert not world.change('configure')
    assert world.state() == 'inactive'


class SlowLoad:
    """An engine whose loading lasts until it is let go."""

    def __init__(self):
        self.engine = ScriptedEngine()
        self.go_on = threading.Event()

    def __call__(self, _config):
        assert self.go_on.wait(60.0)
        return self.engine


def test_neither_configure_nor_activate_waits_for_the_engine(world):
    loading = SlowLoad()
    world.start(MANAGED, hub=EngineHub(loading))
    assert world.change('configure')
    assert world.change('activate')
    assert world.state() == 'active'
    stats, cameras = world.listen('stats'), world.stereo()
    show(world, cameras, 10**9)
    assert world.told('engine', 'loading').level == b'\x01'
    assert not stats
    loading.go_on.set()
    stats.of_stamp(10**9)
    assert world.told('engine', 'the engine is ready').level == b'\x00'


def test_an_engine_that_is_still_loading_can_be_given_up_and_is_closed_later(world):
    loading = SlowLoad()
    world.start(MANAGED, hub=EngineHub(loading))
    assert world.change('configure')
    assert world.change('cleanup')
    assert world.change('configure')
    loading.go_on.set()
    assert loading.engine.closed.wait(30.0)
    world.told('engine', 'not active')
    assert world.change('activate')


def test_configuring_works_again_once_its_cause_of_failure_is_gone(world, tmp_path):
    mask = tmp_path / 'mask.png'
    settings = {'autostart': True, 'input.mask_file_1': str(mask)}
    world.start(settings, engine=ScriptedEngine())
    told = world.told('engine', 'configure failed', str(mask), 'does not exist')
    assert told.level == b'\x02'
    assert world.state() == 'unconfigured'
    assert engine_threads() == []
    mask.write_bytes(black_and_white_png())
    assert world.change('configure')
    assert world.change('activate')
    assert world.told('engine', 'nobody listens').level == b'\x00'


def black_and_white_png():
    picture = np.zeros((64, 96), np.uint8)
    picture[:, 48:] = 255
    return cv2.imencode('.png', picture)[1].tobytes()


@pytest.mark.parametrize(
    'topic', ['/left/image.subscription', '/right/mask.subscription', '/mast3r/matches.publisher']
)
def test_a_quality_of_service_that_cannot_be_is_known_when_configuring(world, topic):
    settings = {**MANAGED, f'qos_overrides.{topic}.reliability': 'now and then'}
    node = world.start(settings, engine=ScriptedEngine())
    assert not world.change('configure')
    assert 'configure failed' in world.told('engine', 'reliability').message
    assert node.session is None
    assert engine_threads() == []
    assert not [item.topic_name for item in node.subscriptions if 'image' in item.topic_name]
    assert not [item.topic_name for item in node.publishers if 'points' in item.topic_name]


def test_a_node_that_cannot_be_made_leaves_none_behind(world):
    with pytest.raises(ConfigError, match='did you mean'):
        world.start({'matching.topk': 3})
    until(lambda: 'mast3r' not in world.node.get_node_names(), 'no half-made node is in the graph')


def test_time_that_stands_still_stops_neither_start_nor_reports(world):
    """With use_sim_time and nobody who publishes /clock, as before a bag is played."""
    world.start({'use_sim_time': True}, engine=ScriptedEngine())
    world.told('engine', 'nobody listens')
    stats, cameras = world.listen('stats'), world.stereo()
    show(world, cameras, 10**9)
    stats.of_stamp(10**9)


@pytest.mark.parametrize('steps', [[], ['configure'], ['configure', 'activate']])
def test_a_node_can_be_destroyed_in_every_state(world, steps):
    engine = ScriptedEngine()
    node = world.start(MANAGED, engine=engine)
    for step in steps:
        assert world.change(step)
    if steps:
        until(lambda: node.session.worker.wait_ready(30.0), 'the engine is ready')
    world.stop(node)
    until(lambda: not engine_threads(), 'the thread of the engine has ended')
    until(lambda: 'mast3r' not in world.node.get_node_names(), 'the node is gone from the graph')
    assert engine.closed.is_set() == bool(steps)


def fail(*_arguments, **_keywords):
    raise RuntimeError('the middleware is out of memory')


def results_of(node):
    """Return the publishers of results that the node has."""
    return [item for item in node.publishers if item.topic_name.startswith('/mast3r/')]


@pytest.mark.parametrize('place', ['pipeline', 'worker'])
def test_a_configuration_that_fails_half_way_leaves_nothing_behind(world, monkeypatch, place):
    hub = EngineHub(lambda _config: ScriptedEngine())
    node = world.start(MANAGED, hub=hub)
    before = len(results_of(node))
    with monkeypatch.context() as broken:
        if place == 'pipeline':
            broken.setattr(session, 'Pipeline', fail)
        else:
            broken.setattr(hub, 'acquire', fail)
        assert not world.change('configure')
    until(lambda: not engine_threads(), 'the thread of the engine has ended')
    assert len(results_of(node)) == before
    assert world.change('configure')


def test_an_activation_that_fails_leaves_the_node_inactive(world, monkeypatch):
    node = world.start(MANAGED, engine=ScriptedEngine())
    assert world.change('configure')
    stats, cameras = world.listen('stats'), world.stereo()
    until(lambda: node.session.outputs.needed, 'somebody listens')
    with monkeypatch.context() as broken:
        broken.setattr(node.session.inputs[1], 'open', fail)
        assert not world.change('activate')
    assert world.state() == 'inactive'
    assert not any(item.is_open for item in node.session.inputs)
    assert not any(item.is_activated for item in results_of(node) if hasattr(item, 'is_activated'))
    assert world.told('engine', 'activate failed', 'out of memory').level == b'\x02'
    assert world.change('activate')
    show(world, cameras, 10**9)
    stats.of_stamp(10**9)


def test_after_a_cleanup_that_fails_only_another_one_is_possible(world, monkeypatch):
    hub = EngineHub(lambda _config: ScriptedEngine())
    node = world.start(MANAGED, hub=hub)
    before = len(results_of(node))
    release = hub.release
    assert world.change('configure')
    with monkeypatch.context() as broken:
        broken.setattr(hub, 'release', lambda worker: fail(release(worker)))
        assert not world.change('cleanup')
    assert len(results_of(node)) == before  # what could be freed is
    assert world.state() == 'inactive'
    assert not world.change('activate')
    world.told('engine', 'activate failed', 'clean up and configure anew')
    assert world.change('cleanup')
    assert world.change('configure')
    assert world.change('activate')


def run_through(world, cameras, stats, stamp_ns):
    """Go once through the whole lifecycle and answer a pair on the way."""
    assert world.change('configure')
    assert world.change('activate')
    show(world, cameras, stamp_ns)
    until(lambda: stats and stamp_of(stats[-1]) == stamp_ns, 'the pair is answered')
    del stats[:]
    assert world.change('deactivate')
    assert world.change('cleanup')


def sessions_alive():
    gc.collect()
    return sum(isinstance(item, Session) for item in gc.get_objects())


def count_of(node):
    """Return how many of each kind of thing the node has."""
    kinds = (node.publishers, node.subscriptions, node.timers, node.services, node.waitables)
    return [len(list(kind)) for kind in kinds]


def test_going_round_the_lifecycle_leaves_nothing_behind(world):
    node = world.start(MANAGED, hub=EngineHub(lambda _config: ScriptedEngine()))
    stats, cameras = world.listen('stats'), world.stereo()
    run_through(world, cameras, stats, 10**9)
    things, threads = count_of(node), threading.active_count()
    for number in range(2, 6):
        run_through(world, cameras, stats, number * 10**9)
    assert count_of(node) == things
    assert threading.active_count() == threads
    assert engine_threads() == []
    assert sessions_alive() == 0


@pytest.mark.soak
def test_going_round_the_lifecycle_fifty_times_does_not_grow_the_process(world):
    node = world.start(MANAGED, hub=EngineHub(lambda _config: ScriptedEngine()))
    stats, cameras = world.listen('stats'), world.stereo()
    for number in range(1, 11):  # until every pool and cache has its size
        run_through(world, cameras, stats, number * 10**9)
    things, threads, before = count_of(node), threading.active_count(), resident_bytes()
    for number in range(11, 61):
        run_through(world, cameras, stats, number * 10**9)
    assert count_of(node) == things
    assert threading.active_count() == threads
    grown = resident_bytes() - before
    print(f'grown by {grown / MB:.2f} MB in 50 rounds')
    assert grown < 5 * MB
