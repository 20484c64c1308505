# SPDX-License-Identifier: Apache-2.0
"""Several nodes of one process share one engine: one model, fair turns, no node hurts another."""

from __future__ import annotations

import threading

from raw_images import smooth_image
from ros_engines import ScriptedEngine
from ros_world import until

from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.ros.engine_hub import EngineHub

IMAGE = smooth_image(96, 64)
S = 10**9
NAMES = ('front', 'left', 'rear')


class Rig:
    """Three nodes in namespaces of their own around one hub, each with two cameras."""

    def __init__(self, world, hub, settings=None):
        self.world = world
        self.nodes, self.cameras, self.stats = {}, {}, {}
        for name in NAMES:
            self.nodes[name] = world.start(settings, hub=hub, namespace=f'/{name}')
            self.stats[name] = world.listen('stats', node=f'/{name}/mast3r')
            self.cameras[name] = [
                world.camera(f'/{name}/{side}/image', frame_id=f'{name}_optical')
                for side in ('left', 'right')
            ]
        for cameras in self.cameras.values():
            world.ready(*cameras)

    def show(self, name, stamp_ns):
        self.world.show(self.cameras[name], IMAGE, stamp_ns)


class Counting:
    """Makes engines and remembers them."""

    def __init__(self, script=lambda number, engine: None):
        self.engines = []
        self._script = script

    def __call__(self, _config):
        self.engines.append(ScriptedEngine(self._script))
        return self.engines[-1]


def test_equal_settings_share_one_engine_and_each_node_answers_for_itself(world):
    made = Counting()
    rig = Rig(world, EngineHub(made))
    for number, name in enumerate(NAMES, 1):
        rig.show(name, number * S)
        message = rig.stats[name].of_stamp(number * S)
        assert message.header.frame_id == f'{name}_optical'
    assert len(made.engines) == 1
    assert len(made.engines[0].threads) == 1
    assert [len(heard) for heard in rig.stats.values()] == [1, 1, 1]


def test_other_settings_get_an_engine_of_their_own_and_other_matching_does_not(world):
    made = Counting()
    hub = EngineHub(made)
    world.start(hub=hub, name='one')
    world.start({'matching.top_k': 5}, hub=hub, name='two')
    world.start({'model.resolution': 224}, hub=hub, name='three')
    for name in ('one', 'two', 'three'):
        world.told('engine', 'nobody listens', node=f'/{name}')
    assert len(made.engines) == 2


def test_a_node_that_floods_the_engine_does_not_starve_the_others(world):
    """Every node has a backlog when the engine is let go: it takes from each in turn."""
    opened = threading.Event()
    made = Counting(lambda number, engine: opened.wait(60.0) and None)
    rig = Rig(world, EngineHub(made), {'input.queue': 'all'})
    rig.show('front', 1 * S)
    until(lambda: made.engines and made.engines[0].pairs, 'the engine is busy')
    for name, count in (('front', 6), ('left', 3), ('rear', 2)):
        for number in range(2, 2 + count):
            rig.show(name, number * S)
    opened.set()
    until(lambda: len(made.engines[0].pairs) == 12, 'every pair is answered')
    turns = [view.frame_id.partition('_')[0] for view, _ in made.engines[0].pairs[1:]]
    rounds = [sorted(turns[start:end]) for start, end in ((0, 3), (3, 6), (6, 8), (8, 11))]
    assert rounds == [
        ['front', 'left', 'rear'],
        ['front', 'left', 'rear'],
        ['front', 'left'],
        ['front', 'front', 'front'],
    ]


def test_the_engine_stays_while_one_node_uses_it_and_goes_with_the_last(world):
    made = Counting()
    rig = Rig(world, EngineHub(made))
    until(lambda: made.engines, 'the engine is made')
    for name in ('front', 'left'):
        assert world.change('deactivate', node=f'/{name}/mast3r')
        assert world.change('cleanup', node=f'/{name}/mast3r')
        assert not made.engines[0].closed.is_set()
        rig.show('rear', (1 + NAMES.index(name)) * S)
        rig.stats['rear'].of_stamp((1 + NAMES.index(name)) * S)
    world.stop(rig.nodes['rear'])
    assert made.engines[0].closed.wait(30.0)
    assert len(made.engines) == 1


def test_one_nodes_bad_pictures_cost_the_others_nothing(world):
    rig = Rig(world, EngineHub(Counting()))
    for number in range(1, 6):
        for camera in rig.cameras['front']:
            message = camera.picture(IMAGE, number * S)
            message.step = 1
            world.deliver(camera, message)
        rig.show('rear', number * S)
        rig.stats['rear'].of_stamp(number * S)
    until(lambda: sum(rig.nodes['front'].session.drops.values()) == 5, 'the bad pairs are counted')
    assert rig.nodes['rear'].session.drops == {}


def test_an_engine_that_failed_is_tried_again_by_the_next_that_needs_it(world):
    attempts = []

    def make(_config):
        attempts.append(None)
        if len(attempts) == 1:
            raise EngineUnavailable('not yet')
        return ScriptedEngine()

    hub = EngineHub(make)
    world.start(hub=hub, name='first')
    told = world.told('engine', 'there is no engine: not yet', node='/first')
    world.start(hub=hub, name='second')
    world.told('engine', 'nobody listens', node='/second')
    assert told.level == b'\x02'
    assert 'there is no engine: not yet' in world.health('engine', node='/first').message
