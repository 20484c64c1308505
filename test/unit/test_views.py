# SPDX-License-Identifier: Apache-2.0
"""A view refuses what is no picture, and a grid's two maps undo one another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.views import Grid, LazyView, View
from mast3r_ros.errors import InvalidInput

IMAGE = np.zeros((4, 6, 3), np.uint8)


@pytest.mark.parametrize(
    ('image', 'words'),
    [
        (None, 'NoneType'),
        ([[1, 2]], 'list'),
        (np.zeros((4, 6), np.uint8), r'uint8 \(4, 6\)'),
        (np.zeros((4, 6, 4), np.uint8), r'\(4, 6, 4\)'),
        (np.zeros((3, 4, 6), np.uint8), r'\(3, 4, 6\)'),
        (np.zeros((4, 6, 3), np.float32), 'float32'),
        (np.zeros((0, 6, 3), np.uint8), 'empty'),
    ],
)
def test_what_is_no_rgb_picture_is_refused_with_what_it_is_and_what_is_allowed(
    image, words: str
) -> None:
    with pytest.raises(InvalidInput, match=words) as caught:
        View(image)
    assert 'give' in str(caught.value) or 'allowed is' in str(caught.value)


def test_a_calibration_of_another_size_is_refused_with_both_sizes() -> None:
    with pytest.raises(InvalidInput, match=r'7x4.*6x4'):
        View(IMAGE, Camera.pinhole(7, 4, 5.0, 5.0, 3.0, 2.0))


@pytest.mark.parametrize(
    ('mask', 'words'),
    [
        (np.zeros((6, 4), bool), r'\(6, 4\).*4x6'),
        (np.zeros((4, 6, 1), np.uint8), r'\(4, 6, 1\)'),
        (np.zeros((4, 6), np.float32), 'float32'),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(mask, words: str) -> None:
    with pytest.raises(InvalidInput, match=words):
        View(IMAGE, mask=mask)


@pytest.mark.parametrize('kind', [bool, np.uint8, np.int32])
def test_every_value_but_zero_takes_part(kind) -> None:
    mask = np.zeros((4, 6), kind)
    mask[1, 2] = 1
    mask[3, 3] = kind(200)
    view = View(IMAGE, mask=mask)
    assert view.mask is not None
    assert view.mask.dtype == np.bool_
    assert view.mask.sum() == 2


def test_a_view_knows_its_size_and_is_its_own_frame() -> None:
    view = View(IMAGE, stamp_ns=5)
    assert (view.width, view.height) == (6, 4)
    assert view.view() is view


def test_a_lazy_view_is_made_once_and_only_when_it_is_needed() -> None:
    made = []

    def make() -> View:
        made.append(True)
        return View(IMAGE, stamp_ns=7)

    frame = LazyView(7, make)
    assert frame.stamp_ns == 7
    assert not made
    assert frame.view() is frame.view()
    assert len(made) == 1


def test_a_lazy_view_that_cannot_be_made_says_why_every_time() -> None:
    def make() -> View:
        raise InvalidInput('encoding yuv9000 is unknown')

    frame = LazyView(7, make)
    for _ in range(2):
        with pytest.raises(InvalidInput, match='yuv9000'):
            frame.view()


FACTORS = st.floats(0.05, 20.0)
OFFSETS = st.floats(0.0, 500.0)


@given(st.tuples(FACTORS, FACTORS), st.tuples(OFFSETS, OFFSETS), st.integers(0, 2**32))
def test_to_grid_undoes_to_image(scale, offset, seed: int) -> None:
    grid = Grid(IMAGE, None, None, scale, offset)
    uv = np.random.default_rng(seed).uniform(-0.5, 5000.0, (20, 2))
    np.testing.assert_allclose(grid.to_grid(grid.to_image(uv)), uv, rtol=0, atol=1e-7)
    np.testing.assert_allclose(grid.to_image(grid.to_grid(uv)), uv, rtol=0, atol=1e-7)


def test_maps_keep_the_shape_of_what_they_map() -> None:
    grid = Grid(IMAGE, None, None, (0.5, 0.5), (1.0, 2.0))
    assert grid.to_image(np.zeros((5, 7, 2), np.float32)).shape == (5, 7, 2)
    assert grid.to_grid(np.zeros(2)).shape == (2,)


def test_image_edges_lie_half_a_pixel_outside_the_outer_centres() -> None:
    halved = Grid(IMAGE, None, None, (0.5, 0.5), (0.0, 0.0))
    np.testing.assert_array_equal(halved.to_image(np.array([-0.5, -0.5])), [-0.5, -0.5])
    np.testing.assert_array_equal(halved.to_image(np.array([2.5, 1.5])), [5.5, 3.5])
    np.testing.assert_array_equal(halved.to_image(np.array([0.0, 0.0])), [0.5, 0.5])
