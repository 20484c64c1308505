# SPDX-License-Identifier: Apache-2.0
"""The node with a real exported network: pictures over DDS in, clouds and matches out."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from network_engines import counted_stages
from ros_world import World, stamp_of, until
from scene import Scene, stereo_shots, walk
from tiny_model import quick_model

STAMP_NS = 1_700_000_000_000_000_000
SHOTS = stereo_shots(Scene(), 0.3, 160, 120)


@pytest.fixture
def world():
    with World() as made:
        yield made


def settings(**changes):
    return {
        'model.path': str(quick_model()),
        'model.resolution': 112,
        'runtime.backend': 'onnxruntime',
        'input.rectified': 'true',
        **changes,
    }


def shown(world, shots=SHOTS, stamp_ns=STAMP_NS, calibrated=True):
    """Publish a stereo pair once the node listens."""
    cameras = world.camera('left/image', frame_id='left_optical'), world.camera('right/image')
    for camera, shot in zip(cameras, shots, strict=True):
        camera.calibrate(shot.camera if calibrated else None)
    world.ready(*cameras)
    world.show(cameras, [shot.image for shot in shots], stamp_ns)
    return cameras


@pytest.mark.parametrize('backend', ['onnxruntime', 'auto'])
def test_the_node_answers_a_pair_with_the_network(world, backend):
    world.start(settings(**{'runtime.backend': backend, 'runtime.trial': False}))
    points, matches, stats = world.listen('points', 'matches', 'stats')
    shown(world)
    cloud, found, stat = points.wait(), matches.wait(), stats.wait()
    assert {stamp_of(cloud), stamp_of(found), stamp_of(stat)} == {STAMP_NS}
    assert cloud.header.frame_id == 'left_optical'
    # The cloud is organised like the network's grid: 160x120 becomes 112x84.
    assert (cloud.width, cloud.height) == (112, 84)
    values = np.frombuffer(bytes(cloud.data), np.float32).reshape(84, 112, -1)
    assert np.isfinite(values[..., :3]).all(axis=2).mean() > 0.5
    # Matches are in pixels of the images as they came.
    assert (found.width_1, found.height_1) == (160, 120)
    assert len(found.u_1) == len(found.confidence) > 0
    # Auto prefers OpenVINO where it is installed.
    name = 'openvino' if backend == 'auto' and find_spec('openvino') else 'onnxruntime'
    assert stat.engine == name
    assert 'cpu' in stat.device
    until(lambda: world.value('engine', 'name') == name, 'the engine in the diagnostics')
    assert world.value('engine', 'precision') in ('fp32', 'bf16')


def test_a_camera_whose_pictures_the_model_cannot_take_is_told_how_to_get_one_that_can(world):
    world.start(settings())
    world.listen('points')
    square = stereo_shots(Scene(), 0.3, 120, 120)
    shown(world, square)
    world.told('pairs', 'mast3r-export --variant dune_vit_small --size 112x112')


def test_without_a_model_the_node_stays_and_says_how_to_get_one(world, tmp_path):
    world.start({'runtime.backend': 'onnxruntime', 'cache_dir': str(tmp_path)})
    world.listen('points')
    world.told('engine', 'mast3r-download', 'mast3r-export')


def test_a_node_that_publishes_clouds_and_follows_its_camera_encodes_each_frame_once(world):
    pytest.importorskip('scipy', reason='needs scipy')
    frames = walk(Scene(), 4, width=160)
    mode = {'pairing.mode': 'sequence', 'sequence.enable': True, 'sequence.still_px': 0.0}
    node = world.start(settings(**mode))
    points, _ = world.listen('points', 'odometry')
    camera = world.camera('image')
    camera.calibrate(frames[0].camera)
    world.ready(camera)
    session = node.session
    with counted_stages(session.worker.call(lambda engine: engine)) as ran:
        for number, shot in enumerate(frames):
            world.show([camera], [shot.image], STAMP_NS + number * 10**8)
            until(lambda n=number: session.pipeline.answered == n, 'a pair is answered')
            until(lambda n=number: session.following.now.frames == n, 'a frame is followed')
    assert len(points) == len(frames) - 1
    assert ran.count('encoder') == len(frames)


def test_a_size_for_tracking_that_the_model_lacks_is_told_with_the_command_that_adds_it(world):
    world.start(settings(**{'model.tracking_shape': [56, 84]}))
    world.listen('points')
    world.told('engine', 'model.tracking_shape', '--size 84x56')
