# SPDX-License-Identifier: Apache-2.0
"""The pose between two cameras, calibrated or given, sets the unit; a wrong one is refused."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray
from support.observed_pipeline import Bench, rig

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


def test_a_given_pose_replaces_calibration(bench: Bench) -> None:
    left, right = rig()
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = -0.6  # twice the true distance
    pipeline = bench.pipeline(T_2_1=T_2_1)
    pipeline.add('left', left.view())
    pipeline.add('right', right.view())
    bench.wait(results=1)
    assert bench.results[0].scale.factor == pytest.approx(2.0, rel=0.02)
    np.testing.assert_array_equal(bench.results[0].T_2_1, T_2_1)


@pytest.mark.parametrize(
    ('T_2_1', 'words'),
    [(np.eye(4), 'baseline'), (np.eye(3), '9 numbers'), (np.full((4, 4), np.nan), 'finite')],
)
def test_a_given_pose_that_cannot_be_is_refused_at_once(
    T_2_1: NDArray[np.float64], words: str, bench: Bench
) -> None:
    with pytest.raises(InvalidInput, match=words):
        bench.pipeline(T_2_1=T_2_1)


def test_a_zero_baseline_fails_each_pair_with_words(bench: Bench) -> None:
    left, _ = rig()
    pipeline = bench.pipeline()
    pipeline.add('left', left.view())
    pipeline.add('right', left.view())
    bench.wait(problems=1)
    assert 'P[3] = -fx * baseline' in str(bench.problems[0][1])
    assert pipeline.drops == {'invalid_input': 1}


def test_uncalibrated_stereo_gives_a_cloud_without_a_unit(bench: Bench) -> None:
    left, right = rig()
    plain = Camera.pinhole(160, 120, 128.0, 128.0, 78.7, 60.7)
    pipeline = bench.pipeline()
    pipeline.add('left', View(left.image, plain))
    pipeline.add('right', View(right.image, plain))
    bench.wait(results=1)
    assert bench.results[0].scale.source is ScaleSource.NONE
    assert bench.results[0].T_2_1 is None
    assert np.isfinite(bench.results[0].cloud_1.points).all()
