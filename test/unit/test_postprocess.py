# SPDX-License-Identifier: Apache-2.0
"""Raw network output becomes points, descriptors and confidence: exact, finite, any float type."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays

from mast3r_ros.core.postprocess import _BLOCK_PIXELS, descriptors, points
from mast3r_ros.errors import EngineFailed

FINITE = st.floats(width=32, allow_nan=False, allow_infinity=False)


def raw(channels: int, height: int = 7, width: int = 5, scale: float = 1.0) -> np.ndarray:
    values = np.random.default_rng(channels).standard_normal((height, width, channels))
    return (scale * values).astype(np.float32)


def test_points_lie_along_the_raw_vector_at_the_exponential_of_its_length() -> None:
    values = raw(4)
    exact = values.astype(np.float64)
    length = np.linalg.norm(exact[..., :3], axis=-1, keepdims=True)
    cloud, confidence = points(values)
    np.testing.assert_allclose(cloud, exact[..., :3] / length * np.expm1(length), rtol=1e-5)
    np.testing.assert_allclose(confidence, 1.0 + np.exp(exact[..., 3]), rtol=1e-6)


def test_descriptors_have_unit_length_and_a_confidence_from_zero_up() -> None:
    values = raw(25)
    exact = values.astype(np.float64)
    vectors, confidence = descriptors(values)
    norms = np.linalg.norm(exact[..., :24], axis=-1, keepdims=True)
    np.testing.assert_allclose(vectors, exact[..., :24] / norms, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(confidence, np.exp(exact[..., 24]), rtol=1e-6)


def test_near_points_keep_their_digits() -> None:
    # exp(d) - 1 instead of expm1(d) would leave two digits of these.
    tiny = np.full((2, 2, 4), 1e-5, np.float32)
    length = np.sqrt(3.0) * 1e-5
    np.testing.assert_allclose(points(tiny)[0], 1e-5 / length * np.expm1(length), rtol=1e-5)


def test_a_vector_of_no_length_becomes_the_origin_and_a_null_descriptor() -> None:
    assert (points(np.zeros((1, 2, 4), np.float32))[0] == 0.0).all()
    assert (descriptors(np.zeros((1, 2, 25), np.float32))[0] == 0.0).all()


@given(arrays(np.float32, (2, 3, 4), elements=FINITE))
def test_points_are_finite_for_any_finite_raw_value(values: np.ndarray) -> None:
    cloud, confidence = points(values)
    assert np.isfinite(cloud).all()
    assert np.isfinite(confidence).all()
    assert (confidence >= 1.0).all()


@given(arrays(np.float32, (2, 3, 7), elements=FINITE))
def test_descriptors_are_finite_and_of_unit_length_for_any_finite_raw_value(
    values: np.ndarray,
) -> None:
    vectors, confidence = descriptors(values)
    assert np.isfinite(vectors).all()
    assert np.isfinite(confidence).all()
    assert (confidence >= 0.0).all()
    some = (values[..., :-1] != 0.0).any(axis=-1)
    np.testing.assert_allclose(np.linalg.norm(vectors[some], axis=-1), 1.0, atol=1e-5)


@given(arrays(np.float32, (1, 4, 4), elements=FINITE))
def test_points_keep_the_direction_however_long_the_vector_is(values: np.ndarray) -> None:
    cloud, _ = points(values)
    long = np.linalg.norm(values[..., :3].astype(np.float64), axis=-1) > 1.0
    way = values[long][:, :3].astype(np.float64)
    way /= np.linalg.norm(way, axis=-1, keepdims=True)
    found = cloud[long].astype(np.float64)
    np.testing.assert_allclose(found, way * np.linalg.norm(found, axis=-1, keepdims=True), 1e-4)


@pytest.mark.parametrize('function', [points, descriptors])
def test_half_floats_are_worked_on_in_float32(function) -> None:
    channels = 4 if function is points else 25
    halves = raw(channels).astype(np.float16)
    for found, wanted in zip(function(halves), function(halves.astype(np.float32)), strict=True):
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, wanted)


def test_the_half_float_range_does_not_overflow() -> None:
    far = np.full((1, 1, 4), 12.0, np.float16)  # exp of its length is no half float any more
    cloud, confidence = points(far)
    assert np.isfinite(cloud).all()
    assert confidence[0, 0] == pytest.approx(1.0 + np.exp(12.0), rel=1e-5)


@pytest.mark.parametrize('function', [points, descriptors])
def test_a_picture_of_many_blocks_is_the_same_as_its_parts(function) -> None:
    values = raw(4 if function is points else 25, height=131, width=3 * _BLOCK_PIXELS // 100)
    whole = function(values)
    rows = [function(row[np.newaxis]) for row in values]
    for index, found in enumerate(whole):
        np.testing.assert_array_equal(found, np.concatenate([row[index] for row in rows]))


def test_a_view_that_is_not_contiguous_is_read_right() -> None:
    values = raw(25, height=8, width=10)
    flipped = values[::-1, ::2]
    for found, wanted in zip(descriptors(flipped), descriptors(flipped.copy()), strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize('function', [points, descriptors])
def test_what_is_not_finite_stays_visible(function) -> None:
    values = raw(4 if function is points else 25)
    values[2, 3, 0] = np.nan
    vectors, _ = function(values)
    assert np.isnan(vectors[2, 3]).any()
    assert np.isfinite(np.delete(vectors.reshape(35, -1), 2 * 5 + 3, axis=0)).all()


@pytest.mark.parametrize('shape', [(4, 4), (3, 3, 3), (0, 3, 4), (1, 3, 3, 4)])
def test_a_raw_map_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(EngineFailed, match='the network returned float32'):
        points(np.zeros(shape, np.float32))
