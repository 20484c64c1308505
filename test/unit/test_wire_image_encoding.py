# SPDX-License-Identifier: Apache-2.0
"""Packed images read back as they were, and keep their memory until it is released."""

from __future__ import annotations

import array
from types import SimpleNamespace

import numpy as np
import pytest
from support import raw_images

from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.image_decoding import decode_image, decode_mask
from mast3r_ros.wire.image_encoding import ImageEncoder
from mast3r_ros.wire.message_fields import make_by_attributes
from mast3r_ros.wire.stamps import header_fields

HEADER = header_fields(17, 'left_optical')


def message_of(fields):
    return make_by_attributes(fields, lambda _: SimpleNamespace)


@pytest.fixture
def depth():
    values = np.random.default_rng(0).random((5, 7), dtype=np.float32)
    values[1, 2] = np.nan
    return values


def test_depth_is_32fc1_in_metres_with_nan_kept(depth):
    fields = ImageEncoder().float_map(HEADER, depth)
    assert (fields['encoding'], fields['width'], fields['height']) == ('32FC1', 7, 5)
    assert (fields['step'], fields['is_bigendian']) == (28, 0)
    np.testing.assert_array_equal(np.frombuffer(fields['data'], '<f4').reshape(5, 7), depth)


def test_z_of_a_cloud_is_packed_in_place(depth):
    points = np.dstack([depth, depth, depth + 1.0])
    fields = ImageEncoder().float_map(HEADER, points[..., 2])
    np.testing.assert_array_equal(
        np.frombuffer(fields['data'], '<f4').reshape(5, 7), depth + np.float32(1.0)
    )


def test_picture_reads_back_as_it_was():
    image = raw_images.random_image(np.random.default_rng(0), 7, 5)
    message = message_of(ImageEncoder().rgb(HEADER, image[:, ::-1]))
    np.testing.assert_array_equal(decode_image(message), image[:, ::-1])
    assert message.header.frame_id == 'left_optical'
    assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 17)


def test_mask_reads_back_as_it_was():
    mask = np.random.default_rng(0).random((5, 7)) < 0.5
    message = message_of(ImageEncoder().mask(HEADER, mask))
    np.testing.assert_array_equal(decode_mask(message), mask)
    assert set(message.data) == {0, 255}


def test_data_is_the_one_kind_that_rclpy_takes_without_a_check(depth):
    data = ImageEncoder().float_map(HEADER, depth)['data']
    assert isinstance(data, array.array)
    assert data.typecode == 'B'


def test_unreleased_image_never_changes_and_released_memory_is_used_again(depth):
    encoder = ImageEncoder()
    first = encoder.float_map(HEADER, depth)
    kept = first['data'].tobytes()
    second = encoder.float_map(HEADER, depth * 2)
    assert first['data'].tobytes() == kept
    encoder.release(second)
    third = encoder.float_map(HEADER, depth * 3)
    assert third['data'] is second['data']
    np.testing.assert_array_equal(np.frombuffer(third['data'], '<f4').reshape(5, 7), depth * 3)
    assert first['data'].tobytes() == kept


@pytest.mark.parametrize(
    'values', [np.zeros((2, 2)), np.zeros((2, 2, 1), np.float32), np.zeros(4, np.float32)]
)
def test_map_of_another_kind_is_refused(values):
    with pytest.raises(InvalidInput, match='allowed is float32'):
        ImageEncoder().float_map(HEADER, values)


def test_picture_of_another_kind_is_refused():
    with pytest.raises(InvalidInput, match='uint8 RGB'):
        ImageEncoder().rgb(HEADER, np.zeros((4, 4), np.uint8))
