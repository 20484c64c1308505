# SPDX-License-Identifier: Apache-2.0
"""A picture's camera and its mask come onto the network's pixels just as the picture does."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.network_grid import grid_places, small_model, smooth_picture

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.preprocessing import plan_for_model, to_grid
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput


@settings(max_examples=50)
@given(
    st.integers(150, 900), st.integers(150, 900), st.sampled_from([112, 224, 336]), st.booleans()
)
def test_a_camera_on_the_grid_sees_each_point_where_to_grid_puts_its_pixel(
    width: int, height: int, resolution: int, bent: bool
) -> None:
    distortion = (-0.1, 0.02, 0.001, -0.002) if bent else ()
    camera = Camera.pinhole(width, height, 300.0, 310.0, width / 2.3, height / 1.9, distortion)
    view = View(np.zeros((height, width, 3), np.uint8), camera)
    grid = to_grid(view, plan_for_model(width, height, small_model(resolution)))
    points = np.random.default_rng(1).uniform((-0.5, -0.5, 1), (0.5, 0.5, 3), (20, 3))
    expected = grid.to_grid(camera.project(points))
    assert grid.camera is not None
    np.testing.assert_allclose(grid.camera.project(points), expected, rtol=0, atol=1e-6)
    assert (grid.camera.width, grid.camera.height) == (grid.width, grid.height)


@settings(max_examples=50)
@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32))
def test_a_mask_is_sampled_at_each_grid_pixel_s_own_place(
    width: int, height: int, seed: int
) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    view = View(np.zeros((height, width, 3), np.uint8), mask=mask)
    try:
        plan = plan_for_model(width, height, small_model(112))
    except InvalidInput:
        return  # too long an image
    grid = to_grid(view, plan)
    uv = grid.to_image(grid_places(plan))
    assert grid.mask is not None
    assert grid.mask.shape == (grid.height, grid.width)
    rng = np.random.default_rng(seed)
    for row, column in rng.integers(0, (grid.height, grid.width), (30, 2)):
        u, v = uv[row, column]
        near = mask[
            max(0, int(np.ceil(v - 0.5 - 1e-9))) : int(np.floor(v + 0.5 + 1e-9)) + 1,
            max(0, int(np.ceil(u - 0.5 - 1e-9))) : int(np.floor(u + 0.5 + 1e-9)) + 1,
        ]
        assert grid.mask[row, column] in near


def test_a_full_mask_stays_full_and_none_stays_none() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    plan = plan_for_model(640, 480, small_model(336))
    assert to_grid(View(image), plan).mask is None
    full = to_grid(View(image, mask=np.ones((480, 640), bool)), plan).mask
    assert full is not None
    assert full.all()


def test_a_mask_leaves_the_network_s_picture_unchanged() -> None:
    picture = smooth_picture(640, 480)
    plan = plan_for_model(640, 480, small_model(336))
    masked = to_grid(View(picture, mask=np.zeros((480, 640), bool)), plan)
    np.testing.assert_array_equal(masked.image, to_grid(View(picture), plan).image)
