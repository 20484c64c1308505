# SPDX-License-Identifier: Apache-2.0
"""View 2's disparity read off view 1's: what is seen from there, what is hidden, what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from mast3r_ros.config import NodeConfig
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.pair_processor import PairProcessor
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import Product
from mast3r_ros.core.results import Output, ScaleSource
from mast3r_ros.core.views import View
from mast3r_ros.engines.geometric import disparity as disparity_module
from mast3r_ros.engines.geometric.disparity import Disparity
from mast3r_ros.engines.geometric.engine import GeometricEngine
from mast3r_ros.engines.geometric.other_view import seen_from_other

WIDTH, HEIGHT = 80, 12
NAN = np.float32(np.nan)


def found(values: NDArray[np.float32], quality: float = 0.5) -> Disparity:
    known = np.isfinite(values)
    return Disparity(values, np.where(known, np.float32(quality), np.float32(0.0)))


def plane(lowest: float, slope: float = 0.0) -> NDArray[np.float32]:
    row = lowest + slope * np.arange(WIDTH, dtype=np.float32)
    return np.repeat(row[None].astype(np.float32), HEIGHT, axis=0)


def test_a_wall_is_the_same_wall_but_for_what_lies_outside_view_1() -> None:
    other = seen_from_other(found(plane(7.25)), None)
    np.testing.assert_allclose(other.values[:, : WIDTH - 8], -7.25, atol=1e-5)
    assert np.isnan(other.values[:, WIDTH - 7 :]).all()
    assert (other.quality[:, : WIDTH - 8] == 0.5).all()
    assert (other.quality[:, WIDTH - 7 :] == 0.0).all()


@pytest.mark.parametrize('slope', [0.3, -0.3, 0.05])
def test_a_slanted_wall_has_no_holes_and_its_own_disparities(slope: float) -> None:
    other = seen_from_other(found(plane(20.0, slope)), None)
    x = np.arange(WIDTH)
    truth = 20.0 + slope * (x + 20.0) / (1.0 - slope)  # of the left pixel that leads to x
    reached = (x + truth > 1) & (x + truth < WIDTH - 2) & (truth > 0.0)
    assert np.isfinite(other.values[:, reached]).all()
    error = -other.values[:, reached] - truth[reached]
    assert np.abs(error).max() < 0.06


def test_what_stands_in_front_hides_what_is_behind() -> None:
    values = plane(4.0)
    values[:, 40:50] = 14.0
    other = seen_from_other(found(values), None)
    np.testing.assert_allclose(other.values[:, 26:36], -14.0)
    np.testing.assert_allclose(other.values[:, :26], -4.0)
    np.testing.assert_allclose(other.values[:, 46 : WIDTH - 5], -4.0)
    assert np.isnan(other.values[:, 37:45]).all()  # view 1 does not see it: the thing hides it


def test_what_is_unknown_or_not_real_in_view_1_stays_unknown() -> None:
    values = plane(5.0)
    values[3, 20:30] = NAN
    seen = np.ones(values.shape, bool)
    seen[6, 40:60] = False
    other = seen_from_other(found(values), seen)
    assert np.isnan(other.values[3, 16:24]).all()
    assert np.isnan(other.values[6, 36:54]).all()
    assert np.isfinite(other.values[0, : WIDTH - 6]).all()


def test_nothing_known_gives_nothing() -> None:
    other = seen_from_other(found(np.full((HEIGHT, WIDTH), NAN)), None)
    assert np.isnan(other.values).all()
    assert not other.quality.any()


@pytest.fixture
def rows_searched(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows each search of a call goes through; they run as ever."""
    counted: list[int] = []
    search = disparity_module.search_rows

    def watched(base: Any, *rest: Any) -> Any:
        counted.append(len(base))
        return search(base, *rest)

    monkeypatch.setattr(disparity_module, 'search_rows', watched)
    return counted


def calibrated_pair() -> ViewPair:
    left, right = made_up_pair(320, 240, shift_px=12)
    camera = Camera.pinhole(320, 240, 260.0, 260.0, 159.5, 119.5)
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = -0.1
    return ViewPair(View(left, camera), View(right, camera), T_2_1)


@pytest.mark.parametrize(
    'wanted',
    [Product.CLOUD_1, Product.MATCHES, Product.CLOUD_1 | Product.MATCHES, Product.ALL],
    ids=str,
)
def test_a_pair_takes_a_search_and_a_quarter_whatever_is_wanted(
    wanted: Product, rows_searched: list[int]
) -> None:
    with GeometricEngine() as engine:
        result = PairProcessor(NodeConfig()).process(engine, calibrated_pair(), wanted)
    assert sum(rows_searched) == 240 + 60
    assert result.scale.source is ScaleSource.STEREO_BASELINE or wanted is Product.MATCHES


def test_a_calibrated_cloud_needs_no_matches_for_its_scale() -> None:
    asked: list[Output] = []

    class Watched(GeometricEngine):
        def decode(self, pairs: Any, outputs: Output) -> Any:
            asked.append(outputs)
            return super().decode(pairs, outputs)

    with Watched() as engine:
        result = PairProcessor(NodeConfig()).process(engine, calibrated_pair(), Product.CLOUD_1)
    assert asked == [Output.CLOUD_1]
    assert result.scale.factor == 1.0
    assert result.scale.source is ScaleSource.STEREO_BASELINE
