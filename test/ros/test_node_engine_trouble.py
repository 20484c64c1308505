# SPDX-License-Identifier: Apache-2.0
"""An engine that raises, hangs, lies or cannot be had: counted, said, survived."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from raw_images import smooth_image
from ros_engines import ScriptedEngine, wall
from ros_world import stamp_of, until

from mast3r_ros.errors import EngineFailed, EngineUnavailable
from mast3r_ros.ros.engine_hub import EngineHub

IMAGE = smooth_image(96, 64)
S = 10**9


class Trial:
    """A node with a scripted engine, asked for everything."""

    def __init__(self, world, script=None, settings=None, hub=None):
        self.world = world
        self.engine = ScriptedEngine(script) if script else None
        self.node = world.start(settings, engine=self.engine, hub=hub)
        self.points, self.matches, self.stats = world.listen('points', 'matches', 'stats')
        self._cameras = world.stereo()
        world.ready(*self._cameras)

    def show(self, stamp_s):
        self.world.show(self._cameras, IMAGE, stamp_s * S)

    def drops(self):
        return self.node.session.drops

    def fail(self, stamp_s, reason='engine_failed'):
        """Show a pair that comes to nothing and wait for that."""
        before = self.drops().get(reason, 0)
        self.show(stamp_s)
        until(lambda: self.drops().get(reason, 0) > before, f'a pair is counted as {reason}')

    def answer(self, stamp_s):
        """Show a pair and wait for its results."""
        self.show(stamp_s)
        for heard in (self.points, self.matches, self.stats):
            heard.of_stamp(stamp_s * S)


def raising(error, numbers):
    def script(number, _engine):
        if number in numbers:
            raise error

    return script


@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (EngineFailed('the device is on fire'), 'engine_failed'),
        (RuntimeError('the device is on fire'), 'failed'),
        (MemoryError('the device is on fire'), 'failed'),
    ],
)
def test_an_engine_that_raises_costs_that_pair_alone(world, error, reason):
    trial = Trial(world, raising(error, {0, 2}))
    for stamp_s in (1, 3):
        trial.fail(stamp_s, reason)
        assert world.told('pairs', 'failed', 'the device is on fire').level >= b'\x01'
        trial.answer(stamp_s + 1)
    assert trial.drops() == {reason: 2}
    assert [stamp_of(message) for message in trial.points] == [2 * S, 4 * S]
    assert trial.node.fatal is None


def test_a_call_that_takes_too_long_is_cancelled(world):
    def script(number, engine):
        if number == 0:
            engine.sleep(120.0)

    trial = Trial(world, script, {'runtime.call_timeout_s': 0.3})
    trial.fail(1)
    assert 'cancelled' in world.told('pairs', 'failed').message
    trial.answer(2)
    assert trial.drops() == {'engine_failed': 1}


@pytest.mark.parametrize('returns_late', [False, True])
def test_an_engine_that_cannot_be_cancelled_is_given_up_and_configuring_gets_a_new_one(
    world, returns_late
):
    hang, engines = threading.Event(), []

    def make(_config):
        engines.append(ScriptedEngine(lambda number, engine: hang.wait(120.0) and None))
        return engines[-1]

    trial = Trial(world, hub=EngineHub(make), settings={'runtime.call_timeout_s': 0.2})
    trial.show(1)
    until(lambda: trial.node.fatal, 'the engine is given up')
    if returns_late:
        hang.set()
        until(lambda: not trial.node.session.worker._thread.is_alive(), 'its thread ends')
    assert 'restart the process' in trial.node.fatal
    told = world.told('engine', 'the engine is dead', 'could not be cancelled')
    assert told.level == b'\x02'
    trial.show(2)  # said as well, and no harm
    until(lambda: sum(trial.drops().values()) >= 2, 'the next pair is refused')
    assert world.change('deactivate')
    assert world.change('cleanup')
    hang.set()
    assert world.change('configure')
    assert world.change('activate')
    world.ready(*trial._cameras)
    trial.answer(3)
    assert len(engines) == 2
    assert trial.node.fatal is None


def test_an_engine_that_cannot_be_had_is_said_and_asked_for_again_by_configuring(world):
    attempts = []

    def make(_config):
        attempts.append(None)
        if len(attempts) == 1:
            raise EngineUnavailable('no such device; plug it in')
        return ScriptedEngine()

    trial = Trial(world, hub=EngineHub(make))
    assert world.told('engine', 'there is no engine', 'plug it in', 'cleanup').level == b'\x02'
    assert trial.node.fatal is None
    trial.show(1)
    until(lambda: trial.drops() == {'no_engine': 1}, 'the pair is counted')
    for step in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert world.change(step)
    world.ready(*trial._cameras)
    trial.answer(2)


NAN = np.nan
SHAPE = (64, 96)
NONSENSE = {
    'points all NaN': ({'pts3d_1': np.full((*SHAPE, 3), NAN, np.float32)}, 'pts3d_1'),
    'matches all NaN': ({'warp_1_2': np.full((*SHAPE, 2), NAN, np.float32)}, 'warp_1_2'),
    'points transposed': ({'pts3d_1': np.ones((96, 64, 3), np.float32)}, 'pts3d_1'),
    'points of another size': ({'pts3d_1': np.ones((32, 48, 3), np.float32)}, 'pts3d_1'),
    'points in float64': ({'pts3d_1': np.ones((*SHAPE, 3))}, 'float64'),
    'confidence of another size': ({'conf_1': np.ones((1, 1), np.float32)}, 'conf_1'),
    'a part is missing': ({'pts3d_1': None}, 'no pts3d_1'),
    'matches of two numbers': ({'warp_1_2': np.ones((2,), np.float32)}, 'warp_1_2'),
}


@pytest.mark.parametrize('what', NONSENSE)
def test_nonsense_is_never_published_but_counted_and_said(world, what):
    changes, words = NONSENSE[what]

    def script(number, engine):
        return replace(wall(*engine.grids), **changes) if number == 0 else None

    trial = Trial(world, script)
    trial.fail(1)
    assert world.told('pairs', '1 pairs failed', 'the engine returned', words).level == b'\x02'
    trial.answer(2)
    for heard in (trial.points, trial.matches, trial.stats):
        assert [stamp_of(message) for message in heard] == [2 * S]
    assert trial.drops() == {'engine_failed': 1}


@pytest.mark.parametrize(
    'changes', [{'notes': ('there is no light',)}, {'conf_1': np.ones(SHAPE, np.float32)}]
)
def test_an_answer_that_says_it_knows_nothing_is_one(world, changes):
    empty = {'pts3d_1': np.full((*SHAPE, 3), NAN, np.float32), **changes}
    trial = Trial(world, lambda number, engine: replace(wall(*engine.grids), **empty))
    trial.answer(1)
    assert trial.drops() == {}
    if 'notes' in changes:
        world.told('pairs', 'there is no light')


def test_a_result_that_cannot_be_published_costs_that_pair_alone(world, monkeypatch):
    trial = Trial(world, lambda number, engine: None)
    outputs = trial.node.session.outputs
    publish, tries = outputs.publish, []

    def failing_once(*arguments):
        tries.append(None)
        if len(tries) == 1:
            raise ValueError('the middleware is out of memory')
        return publish(*arguments)

    monkeypatch.setattr(outputs, 'publish', failing_once)
    trial.fail(1, 'failed')
    trial.answer(2)
    world.told('pairs', 'the middleware is out of memory')
