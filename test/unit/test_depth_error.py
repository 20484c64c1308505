# SPDX-License-Identifier: Apache-2.0
"""The error of a depth map: pixel by pixel, on any grid, in metres whatever the depth's unit."""

from __future__ import annotations

import numpy as np
import pytest

from mast3r_ros.core.depth_error import depth_error
from mast3r_ros.core.preprocessing import plan_for_shape, to_grid
from mast3r_ros.core.views import Grid, View
from mast3r_ros.errors import InvalidInput

HEIGHT, WIDTH = 48, 64


def blank(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def truth() -> np.ndarray:
    """Return a depth that differs in every pixel."""
    return (1.0 + np.arange(HEIGHT * WIDTH, dtype=np.float32) / 100).reshape(HEIGHT, WIDTH)


def whole() -> tuple[Grid, View]:
    return Grid(blank()), View(blank())


def test_the_error_is_the_distance_in_metres():
    depth = truth()
    depth[3, 5] += 0.5
    depth[4, 6] -= 0.25
    found = depth_error(depth, *whole(), truth(), unit_known=True)
    assert found.error[3, 5] == pytest.approx(0.5, abs=1e-5)
    assert found.error[4, 6] == pytest.approx(0.25, abs=1e-5)
    assert np.count_nonzero(found.error) == 2
    assert found.factor == 1.0


def test_where_either_depth_is_unknown_there_is_no_error():
    depth, true = truth(), truth()
    depth[0, :] = np.nan
    true[:, 0] = np.nan
    found = depth_error(depth, *whole(), true, unit_known=True)
    assert not np.isfinite(found.error[0]).any()
    assert not np.isfinite(found.error[:, 0]).any()
    assert np.isfinite(found.error[1:, 1:]).all()
    assert found.covered == pytest.approx((HEIGHT - 1) / HEIGHT)


def test_a_depth_without_a_unit_is_scaled_to_fit_first():
    found = depth_error(truth() / 7, *whole(), truth(), unit_known=False)
    assert found.factor == pytest.approx(7.0, rel=1e-5)
    assert found.quantile(1.0) < 1e-4


def test_a_depth_in_metres_is_never_scaled():
    found = depth_error(truth() * 2, *whole(), truth(), unit_known=True)
    np.testing.assert_allclose(found.error, truth(), rtol=1e-5)


def test_the_truth_is_taken_where_each_pixel_of_the_grid_lies():
    """A crop in the middle of an enlarged picture: pixel (0, 0) is not the image's first."""
    grid = Grid(blank(20, 30), scale=(0.5, 0.5), offset=(1.0, 3.0))
    depth = np.ones((20, 30), np.float32)
    found = depth_error(depth, grid, View(blank()), truth(), unit_known=True)
    for row, column in ((0, 0), (7, 11), (19, 29)):
        u, v = grid.to_image(np.array([column, row]))
        near = truth()[int(v) : int(v) + 2, int(u) : int(u) + 2]
        assert found.error[row, column] + 1.0 in near


def test_the_grid_of_a_network_has_the_truth_of_its_view():
    view = View(blank(480, 640))
    true = np.tile(np.linspace(1, 9, 640, dtype=np.float32), (480, 1))
    grid = to_grid(view, plan_for_shape(640, 480, (192, 256), 16))
    columns = grid.to_image(np.stack([np.arange(256), np.zeros(256)], axis=-1))[:, 0]
    depth = np.tile(1 + columns / 639 * 8, (192, 1)).astype(np.float32)
    assert depth_error(depth, grid, view, true, unit_known=True).quantile(1.0) < 8 / 639


def test_nothing_in_common_is_no_error_at_all():
    found = depth_error(np.full_like(truth(), np.nan), *whole(), truth(), unit_known=False)
    assert found.covered == 0.0
    assert found.factor == 1.0
    assert np.isnan(found.quantile(0.5))


def test_a_truth_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(InvalidInput, match='32x24 but its image is 64x48'):
        depth_error(truth(), *whole(), truth()[::2, ::2], unit_known=True)
