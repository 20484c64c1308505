# SPDX-License-Identifier: Apache-2.0
"""A calibrated pair's cloud is in metres, and without a measured scale the last one holds."""

from __future__ import annotations

import numpy as np
import pytest
from support.answered_pair import answered, oracle, processor, stereo_pair, true_depth

from mast3r_ros.config import CloudConfig
from mast3r_ros.core.products import Product
from mast3r_ros.core.results import Output, ScaleSource
from mast3r_ros.errors import InvalidInput


def test_a_stereo_cloud_is_in_metres_whatever_the_engine_s_unit() -> None:
    result = answered(scale=0.37)
    assert result.scale.source is ScaleSource.STEREO_BASELINE
    np.testing.assert_allclose(result.cloud_1.depth, true_depth(result), rtol=0.01)


def test_a_warp_engine_s_cloud_comes_from_the_calibrated_cameras_in_metres() -> None:
    engine = oracle(provides=Output.WARP)
    one = processor()
    result = one.process(engine, stereo_pair(), Product.ALL)
    assert engine.asked == [Output.WARP]
    assert result.scale.source is ScaleSource.STEREO_BASELINE
    assert result.scale.factor == 1.0
    assert one.scale_keeper.held == 0
    assert result.cloud_2 is None
    truth = true_depth(result)
    seen = np.isfinite(result.cloud_1.depth)
    assert 0.6 < seen.mean() < 1.0
    np.testing.assert_allclose(result.cloud_1.depth[seen], truth[seen], rtol=1e-3)
    np.testing.assert_array_equal(result.cloud_1.confidence > 1, seen)


def test_matches_alone_leave_the_scale_alone() -> None:
    one = processor()
    result = one.process(oracle(), stereo_pair(), Product.MATCHES)
    assert one.scale_keeper.held == 0
    assert result.scale.source is ScaleSource.NONE


def test_a_baseline_scale_without_a_baseline_is_refused_before_any_work() -> None:
    engine = oracle()
    one = processor(cloud=CloudConfig(scale='stereo_baseline'))
    with pytest.raises(InvalidInput, match='no calibrated baseline'):
        one.process(engine, stereo_pair(calibrated=False), Product.CLOUD_1)
    assert engine.encoded == []


def test_few_matches_hold_the_scale_of_the_pair_before() -> None:
    engine, one = oracle(scale=0.37), processor()
    good = one.process(engine, stereo_pair(), Product.CLOUD_1)
    nothing = np.zeros((150, 200), bool)
    nothing[60:90, 90:120] = True
    held = one.process(engine, stereo_pair(nothing, None), Product.CLOUD_1)
    assert held.scale.factor == good.scale.factor
    assert held.scale.matches == 0
    assert one.scale_keeper.held == 1
    one.reset()
    assert one.process(engine, stereo_pair(nothing, None), Product.CLOUD_1).scale.factor == 1.0
