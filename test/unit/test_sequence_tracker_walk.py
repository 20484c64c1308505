# SPDX-License-Identifier: Apache-2.0
"""A walk is followed frame by frame in one unit, with honest doubt and no needless inference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.oracle_engine import ErrorModel

pytest.importorskip('scipy')

from support.followed_walk import accuracy, follow, frame, sideways, states, tracker

from mast3r_ros.core.results import Output
from mast3r_ros.sequence.frames import TrackingState
from mast3r_ros.sequence_config import SequenceConfig


def test_every_frame_of_a_walk_is_placed_where_it_was() -> None:
    following, tracked = follow(sideways())
    assert states(tracked) <= {TrackingState.STARTED, TrackingState.TRACKED}
    assert len(following.keyframes) > 2
    result = accuracy(tracked, sideways())
    assert result.summary()['ate_m'].rmse < 0.03
    assert result.summary()['rpe_deg'].median < 0.3


def test_the_world_begins_at_the_first_camera() -> None:
    _, tracked = follow(sideways()[:3])
    np.testing.assert_array_equal(tracked[0].T_world_camera, np.eye(4))
    assert tracked[0].state is TrackingState.STARTED


def test_points_come_in_the_world_s_unit() -> None:
    _, tracked = follow(sideways()[:6], scale=0.5)
    unit = accuracy(tracked, sideways()[:6]).alignment.scale
    for item, shot in zip(tracked[1:], sideways()[1:], strict=False):
        assert unit * np.nanmedian(item.cloud.depth) == pytest.approx(
            np.nanmedian(shot.depth), rel=0.1
        )


@pytest.mark.parametrize(
    'provides', [Output.WARP | Output.CLOUD_1 | Output.CLOUD_2, Output.CLOUD_1 | Output.CLOUD_2]
)
def test_engines_that_match_otherwise_do_too(provides: Output) -> None:
    shots = sideways()[:10]
    _, tracked = follow(shots, provides=provides)
    assert TrackingState.LOST not in states(tracked)
    assert accuracy(tracked, shots).summary()['ate_m'].rmse < 0.1


def test_a_standing_camera_costs_no_inference() -> None:
    shot = sideways()[0]
    noisy = [
        replace(shot, image=np.clip(shot.image.astype(int) + n % 2, 0, 255).astype(np.uint8))
        for n in range(5)
    ]
    with tracker([*sideways()[:2], *noisy], SequenceConfig(still_px=0.5)) as (following, engine):
        following.track(frame(shot, 0))
        asked = len(engine.asked)
        for n in range(1, 5):
            found = following.track(frame(noisy[n], n))
            assert found.state is TrackingState.STILL
            assert found.stamp_ns == n * 10**8
        assert len(engine.asked) == asked
        assert following.track(frame(sideways()[1], 6)).state is TrackingState.TRACKED


def test_a_view_is_encoded_once_while_it_is_followed_against() -> None:
    with tracker(sideways()[:5], SequenceConfig(still_px=0.0, keyframe_overlap=0.05)) as (
        following,
        engine,
    ):
        for n, shot in enumerate(sideways()[:5]):
            following.track(frame(shot, n))
        assert len(engine.encoded) == 5


def test_a_pose_grows_less_sure_along_the_way() -> None:
    _, (first, by_matches_alone, *others) = follow(sideways())
    assert not first.covariance.any()
    assert by_matches_alone.covariance is None
    spread = [np.sqrt(np.trace(item.covariance[:3, :3])) for item in others]
    assert 0.0 < spread[0] < spread[-1]
    for item in others:
        assert (np.linalg.eigvalsh(item.covariance) > 0.0).all()


def test_a_sharper_engine_makes_surer_poses() -> None:
    shots = sideways()[:3]
    sharp, vague = (
        follow(shots, errors=ErrorModel(match_px=noise))[1][2].covariance for noise in (0.2, 2.0)
    )
    assert np.trace(sharp) < np.trace(vague)
