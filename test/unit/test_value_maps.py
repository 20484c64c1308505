# SPDX-License-Identifier: Apache-2.0
"""Maps of values: which colour each pixel gets, what the scale says, what has no value."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mast3r_ros.viewer import lettering, value_maps
from mast3r_ros.viewer.colours import CONFIDENCE, DEPTH, coloured
from mast3r_ros.viewer.value_maps import STRIPES, TITLE_PX, draw_confidence, draw_depth, draw_error

SIZE = (480, 640)  # of a map that is drawn pixel by pixel


def ends(colour_map: int) -> tuple[list[int], list[int]]:
    """Return the colours of the map's dark and bright end."""
    dark, bright = coloured(np.array([0.0, 1.0]), 0.0, 1.0, colour_map).tolist()
    return dark, bright


def halves(left: float, right: float) -> np.ndarray:
    values = np.full(SIZE, left, np.float32)
    values[:, SIZE[1] // 2 :] = right
    return values


def at(picture: np.ndarray, row: int, column: int) -> list[int]:
    return picture[TITLE_PX + row, column].tolist()


def words_of(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that gets every text as it is written."""
    written: list[str] = []

    def write(picture, text, *place):
        written.append(text)
        lettering.write(picture, text, *place)

    monkeypatch.setattr(value_maps, 'write', write)
    return written


def test_near_is_bright_and_far_is_dark():
    picture = draw_depth(halves(2.0, 12.0), 'metres')
    far, near = ends(DEPTH)
    assert at(picture, 100, 10) == near
    assert at(picture, 100, 600) == far


def test_sure_is_bright_and_a_confidence_of_one_is_dark():
    picture = draw_confidence(halves(1.0, 6.0))
    none, sure = ends(CONFIDENCE)
    assert at(picture, 100, 10) == none
    assert at(picture, 100, 600) == sure


def test_a_large_error_is_bright_and_none_is_dark():
    picture = draw_error(halves(0.0, 0.5), 'error, metres')
    none, large = ends(value_maps.ERROR)
    assert at(picture, 100, 10) == none
    assert at(picture, 100, 600) == large


def test_the_scale_of_errors_begins_at_zero_even_where_none_is_small():
    picture = draw_error(halves(0.5, 1.0), 'error, metres')
    assert (
        at(picture, 100, 10) == coloured(np.array([0.5]), 0.0, 1.0, value_maps.ERROR)[0].tolist()
    )


@pytest.mark.parametrize('nothing', [np.nan, np.inf, -np.inf])
def test_a_pixel_without_a_value_is_striped(nothing):
    values = halves(2.0, 12.0)
    values[50:150, 100:200] = nothing
    inside = draw_depth(values, 'metres')[TITLE_PX + 50 : TITLE_PX + 150, 100:200]
    colours, counts = np.unique(inside.reshape(-1, 3), axis=0, return_counts=True)
    assert sorted(map(tuple, colours.tolist())) == sorted(STRIPES)
    assert counts.min() > 0.45 * counts.sum()


def test_only_what_has_no_value_is_striped():
    values = np.random.default_rng(0).uniform(1.0, 20.0, SIZE).astype(np.float32)
    values[7, 9] = np.nan
    shown = draw_depth(values, 'metres')[TITLE_PX : TITLE_PX + SIZE[0], : SIZE[1]]
    striped = (shown[..., None, :] == np.array(STRIPES)).all(axis=-1).any(axis=-1)
    assert np.argwhere(striped).tolist() == [[7, 9]]


@pytest.mark.parametrize('colour_map', [DEPTH, CONFIDENCE, value_maps.ERROR])
def test_no_colour_of_a_map_comes_near_the_stripes(colour_map):
    """In luminance or saturation, which every eye tells apart."""
    colours = coloured(np.linspace(0, 1, 256), 0, 1, colour_map).astype(int)
    for stripe in STRIPES:
        assert np.abs(colours - np.array(stripe)).max(axis=1).min() > 60


@pytest.mark.parametrize('colour_map', [DEPTH, CONFIDENCE, value_maps.ERROR])
def test_a_map_rises_in_brightness_for_those_who_see_no_colours(colour_map):
    colours = coloured(np.linspace(0, 1, 32), 0, 1, colour_map)
    grey = cv2.cvtColor(colours[None], cv2.COLOR_RGB2GRAY)[0].astype(int)
    assert np.diff(grey).min() >= 0
    assert grey[-1] - grey[0] > 120


def test_the_scale_has_the_colours_of_the_map_and_its_largest_value_on_top():
    depth = np.linspace(2.0, 12.0, SIZE[0], dtype=np.float32)[::-1, None].repeat(SIZE[1], axis=1)
    picture = draw_depth(depth, 'metres')
    middle = SIZE[1] + value_maps._GAP_PX + value_maps._BAR_PX // 2
    for row in (20, 150, 300, 460):
        scale, shown = np.array(at(picture, row, middle)), np.array(at(picture, row, 5))
        assert np.abs(scale - shown).max() <= 8


def test_the_unit_and_round_numbers_stand_on_the_picture(monkeypatch):
    written = words_of(monkeypatch)
    draw_depth(halves(2.0, 12.0), 'x baseline')
    assert 'depth, x baseline' in written
    assert [word for word in written if word.isdigit()] == ['2', '4', '6', '8', '10', '12']


def test_values_beyond_the_scale_are_told(monkeypatch):
    written = words_of(monkeypatch)
    depth = np.random.default_rng(0).uniform(2.0, 12.0, SIZE)
    depth[0, 0], depth[0, 1] = 0.1, 500.0
    draw_depth(depth, 'metres')
    assert '< 2' in written
    assert '> 12' in written


def test_the_share_without_a_value_is_told(monkeypatch):
    written = words_of(monkeypatch)
    draw_depth(halves(2.0, np.nan), 'metres')
    assert 'no value: 50.0 %' in written


def test_a_small_map_is_enlarged_by_whole_squares():
    picture = draw_error(np.array([[0.0, 1.0], [1.0, 0.0]]), 'error')
    none, large = ends(value_maps.ERROR)
    assert at(picture, 0, 0) == at(picture, 319, 319) == at(picture, 320, 320) == none
    assert at(picture, 0, 320) == at(picture, 319, 639) == at(picture, 320, 0) == large


def test_a_large_map_is_thinned_and_never_averaged():
    values = np.tile(np.float32([0.0, 1.0, 1.0, 1.0]), (300, 1000))
    picture = draw_error(values, 'error')
    width = 4000 // 3 + 1
    shown = picture[TITLE_PX : TITLE_PX + 100, :width].reshape(-1, 3)
    assert {tuple(colour) for colour in shown.tolist()} == set(map(tuple, ends(value_maps.ERROR)))


@pytest.mark.parametrize(
    'values',
    [
        np.full((4, 4), np.nan),
        np.full((4, 4), 3.0),
        np.zeros((4, 4)),
        np.full((1, 1), 1e-30),
        np.full((2, 900), 1e30),
        np.float32([[1.0, 3e38]]),
    ],
)
def test_odd_values_are_drawn_all_the_same(values):
    for picture in (
        draw_depth(values, 'metres'),
        draw_confidence(values),
        draw_error(values, 'a title that is much longer than its little map is wide'),
    ):
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3


@pytest.mark.parametrize('shape', [(480, 640), (20, 30), (3, 1200), (1200, 3)])
def test_no_letter_is_cut_off_at_the_edge(shape):
    rng = np.random.default_rng(0)
    picture = draw_depth(rng.uniform(1000.0, 99000.0, shape), 'metres')
    for edge in (picture[0], picture[-1], picture[:, -1]):
        assert (edge == 255).all()
