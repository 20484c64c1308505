# SPDX-License-Identifier: Apache-2.0
"""A preset whose engine or model is missing says so, stays, and falls back only when asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from ros_engines import ScriptedEngine
from ros_world import until
from scene import Scene, stereo_shots

from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.errors import EngineUnavailable, ModelNotFound
from mast3r_ros.ros.engine_hub import EngineHub

CONFIG = Path(__file__).resolve().parents[2] / 'config'
PRESETS = ('drone', 'quality', 'desktop')
STAMP_NS = 10**9
ABSENCES = {
    'the model': ModelNotFound('there is no such model here: run `get it` and `export it`'),
    'the engine': EngineUnavailable('no such library here: run `install it`'),
}


def start(world, preset, tmp_path, **keywords):
    """Start a node with a preset's file, on a machine without any model."""
    arguments = ['--ros-args', '--params-file', str(CONFIG / f'{preset}.yaml')]
    settings = {'cache_dir': str(tmp_path), 'runtime.num_threads': 1}
    return world.start({**settings, **keywords}, cli_args=arguments)


def show_pair(world, shots, stamp_ns=STAMP_NS):
    cameras = world.stereo()
    for camera, shot in zip(cameras, shots, strict=True):
        camera.calibrate(shot.camera)
    world.ready(*cameras)
    world.show(cameras, [shot.image for shot in shots], stamp_ns)
    return cameras


@pytest.mark.parametrize('preset', PRESETS)
def test_without_its_model_a_preset_is_active_and_says_what_is_missing(world, preset, tmp_path):
    node = start(world, preset, tmp_path)
    told = world.told('engine', 'there is no engine: ', 'configure the node anew')
    assert told.level == b'\x02'
    assert world.state() == 'active'
    assert node.fatal is None
    stats = world.listen('stats')
    show_pair(world, stereo_shots(Scene()))
    until(lambda: node.session.drops == {'no_engine': 1}, 'the pair is counted')
    world.told('pairs', '1 pairs failed')
    assert not stats
    assert node.session.worker.state is WorkerState.FAILED


@pytest.mark.parametrize('preset', PRESETS)
def test_with_the_fallback_geometry_answers_and_says_whose_place_it_takes(world, preset, tmp_path):
    start(world, preset, tmp_path, **{'runtime.fallback': 'geometric'})
    told = world.told('engine', 'geometry runs instead, as runtime.fallback asks: ')
    assert told.level == b'\x01'
    stats = world.listen('stats')
    show_pair(world, stereo_shots(Scene()))
    assert stats.of_stamp(STAMP_NS).engine == 'geometric'
    assert 'geometry runs instead' in world.told('engine', 'the engine is ready').message


def test_geometry_that_was_asked_for_replaces_nothing(world):
    world.start({'runtime.backend': 'geometric', 'runtime.fallback': 'geometric'})
    assert world.told('engine', 'nobody listens').level == b'\x00'
    assert not [item for item in world.reports('engine') if 'instead' in item.message]


@pytest.mark.parametrize('what', ABSENCES)
def test_a_model_that_has_come_meanwhile_is_taken_by_configuring_anew(world, what, tmp_path):
    come = []

    def make(_config):
        if not come:
            raise ABSENCES[what]
        return ScriptedEngine()

    world.start(hub=EngineHub(make))
    world.told('engine', str(ABSENCES[what]))
    come.append(True)
    for step in ('deactivate', 'cleanup', 'configure', 'activate'):
        assert world.change(step)
    assert world.told('engine', 'nobody listens').level == b'\x00'


def test_a_preset_never_falls_back_unasked(tmp_path):
    from mast3r_ros.config import NodeConfig

    for preset in PRESETS:
        settings = NodeConfig.from_yaml(CONFIG / f'{preset}.yaml').to_dict()
        settings['cache_dir'] = str(tmp_path)
        with pytest.raises((EngineUnavailable, ModelNotFound)):
            get_runtime(NodeConfig(**settings))
