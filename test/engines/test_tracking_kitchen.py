# SPDX-License-Identifier: Apache-2.0
"""A real hand-held walk, followed with an engine that makes a network's errors on its true depth,
and with the geometric engine on the pictures themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from kitchen_walk import DEPTH_CAMERA, WalkFrame, kitchen_walk, register_walk
from oracle_engine import OracleEngine
from real_data import KITCHEN_CAMERA

pytest.importorskip('scipy')

from mast3r_ros.config import MatchingConfig, ModelConfig, PipelineConfig
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.engines.geometric.engine import GeometricEngine
from mast3r_ros.sequence.accuracy import Accuracy, evaluate
from mast3r_ros.sequence.answers import EngineAnswers
from mast3r_ros.sequence.frames import SequenceFrame, TrackedFrame, TrackingState
from mast3r_ros.sequence.tracker import Tracker
from mast3r_ros.sequence.trajectory import Trajectory
from mast3r_ros.sequence_config import SequenceConfig

pytestmark = pytest.mark.data


def follow(
    walk: list[WalkFrame],
    engine: EngineInterface,
    config: PipelineConfig,
    camera: Camera | None,
    sequence: SequenceConfig | None = None,
) -> tuple[Tracker, list[TrackedFrame]]:
    with EngineWorker(lambda: engine) as worker:
        worker.wait_ready()
        following = Tracker(EngineAnswers(worker, config), sequence)
        views = (View(item.image, camera, stamp_ns=item.stamp_ns) for item in walk)
        return following, [following.track(SequenceFrame(view)) for view in views]


def with_oracle(
    walk: list[WalkFrame],
    resolution: int,
    subsample: int,
    sequence: SequenceConfig,
    camera: Camera | None = DEPTH_CAMERA,
) -> tuple[Tracker, list[TrackedFrame]]:
    """Follow by true depth; flow is not looked at, as the pictures are another camera's."""
    config = PipelineConfig(
        model=ModelConfig(resolution=resolution), matching=MatchingConfig(subsample=subsample)
    )
    engine = register_walk(OracleEngine(config.model), walk)
    return follow(walk, engine, config, camera, sequence)


def accuracy(tracked: Sequence[TrackedFrame], walk: Sequence[WalkFrame]) -> Accuracy:
    found = [(item.stamp_ns, item.T_world_camera) for item in tracked if item.keyframe]
    true = [(item.stamp_ns, item.T_world_camera) for item in walk]
    return evaluate(
        Trajectory.of(*zip(*found, strict=True)),
        Trajectory.of(*zip(*true, strict=True)),
        with_scale=True,
    )


def test_the_walk_is_followed_through_a_network_s_errors():
    walk = kitchen_walk(5)
    _, tracked = with_oracle(walk, 140, 5, SequenceConfig(loop_edges=1, dynamic_px=0.0))
    assert TrackingState.LOST not in {item.state for item in tracked}
    result = accuracy(tracked, walk)
    assert result.summary()['ate_m'].rmse <= 0.03


@pytest.mark.parametrize('rule', ['auto', 'rays'])
def test_without_calibration_the_walk_is_followed_nearly_as_well(rule):
    walk = kitchen_walk(5)
    config = SequenceConfig(loop_edges=1, dynamic_px=0.0, solver=rule)
    following, tracked = with_oracle(walk, 140, 5, config, None)
    assert TrackingState.LOST not in {item.state for item in tracked}
    result = accuracy(tracked, walk)
    assert result.summary()['ate_m'].rmse <= 0.02
    assert following.keyframes.unknown.is_settled is (rule == 'auto')
    assert following.keyframes.current.camera.fx == pytest.approx(DEPTH_CAMERA.fx, rel=0.03)


def test_pictures_alone_are_enough_for_the_geometric_engine():
    walk = kitchen_walk(3, 14)
    small = [
        WalkFrame(item.image[::2, ::2].copy(), item.depth, item.T_world_camera, item.stamp_ns)
        for item in walk
    ]
    camera = KITCHEN_CAMERA.on_grid((0.5, 0.5), (0.0, 0.0), 320, 240)
    config = PipelineConfig()
    _, tracked = follow(small, GeometricEngine(config), config, camera)
    assert TrackingState.LOST not in {item.state for item in tracked}
    result = accuracy(tracked, small)
    assert result.summary()['ate_m'].rmse < 0.1 * result.truth.length


@pytest.mark.soak
@pytest.mark.parametrize('camera', [DEPTH_CAMERA, None], ids=['calibrated', 'not calibrated'])
def test_every_frame_of_the_whole_walk_is_placed_within_three_centimetres(camera):
    walk = kitchen_walk()
    config = SequenceConfig(dynamic_px=0.0)
    following, tracked = with_oracle(walk, 224, 6, config, camera)
    assert TrackingState.LOST not in {item.state for item in tracked}
    result = accuracy(tracked, walk)
    assert result.summary()['ate_m'].rmse <= 0.03
    assert result.summary()['rpe_deg'].median <= 0.3
    assert following.keyframes.loops > 0
