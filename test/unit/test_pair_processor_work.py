# SPDX-License-Identifier: Apache-2.0
"""The engine is asked for no more than the wanted products need, and gives what it can."""

from __future__ import annotations

import numpy as np
import pytest
from support.answered_pair import answered, oracle, processor, rig, stereo_pair

from mast3r_ros.config import CloudConfig
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import Product
from mast3r_ros.core.results import Output, ScaleSource
from mast3r_ros.core.views import View

CLOUDS = Output.CLOUD_1 | Output.CLOUD_2


@pytest.mark.parametrize(
    ('wanted', 'calibrated', 'asked'),
    [
        (Product.CLOUD_1, False, Output.CLOUD_1),
        (Product.CLOUD_2, False, Output.CLOUD_2),
        (Product.CLOUD_1 | Product.CLOUD_2, False, CLOUDS),
        (Product.MATCHES, False, Output.DESC),
        (Product.MATCHES, True, Output.DESC),
        (Product.NOTHING, True, Output(0)),
        (Product.CLOUD_1, True, Output.CLOUD_1 | Output.DESC),  # the scale needs matches
        (Product.CLOUD_2, True, CLOUDS | Output.DESC),
        (Product.ALL, False, CLOUDS | Output.DESC),
    ],
)
def test_the_engine_is_asked_for_no_more_than_is_wanted(
    wanted: Product, calibrated: bool, asked: Output
) -> None:
    engine = oracle()
    result = processor().process(engine, stereo_pair(calibrated=calibrated), wanted)
    assert engine.asked == [asked]
    assert (result.cloud_1 is not None) == bool(wanted & Product.CLOUD_1)
    assert (result.cloud_2 is not None) == bool(wanted & Product.CLOUD_2)
    assert (result.matches is not None) == bool(wanted & Product.MATCHES)


def test_a_metric_cloud_alone_needs_no_matches_where_the_model_gives_the_metres() -> None:
    engine = oracle(metric=True)
    result = processor(cloud=CloudConfig(scale='model')).process(
        engine, stereo_pair(), Product.CLOUD_1
    )
    assert engine.asked == [Output.CLOUD_1]
    assert result.scale.source is ScaleSource.MODEL


def test_an_engine_of_clouds_alone_is_matched_by_its_clouds() -> None:
    engine = oracle(provides=CLOUDS)
    result = processor().process(engine, stereo_pair(calibrated=False), Product.MATCHES)
    assert engine.asked == [CLOUDS]
    assert len(result.matches) > 100


def test_a_cloud_alone_from_a_warp_engine_asks_for_the_warp() -> None:
    engine = oracle(provides=Output.WARP)
    result = processor().process(engine, stereo_pair(), Product.CLOUD_1)
    assert engine.asked == [Output.WARP]
    assert np.isfinite(result.cloud_1.depth).mean() > 0.6


def test_a_warp_engine_without_cameras_has_matches_but_no_cloud() -> None:
    left, right = rig()
    pair = ViewPair(View(left.image), View(right.image))
    result = answered(pair=pair, provides=Output.WARP)
    assert result.cloud_1 is None
    assert len(result.matches) > 100
