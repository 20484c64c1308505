# SPDX-License-Identifier: Apache-2.0
"""Clouds keep every bit, their rows and columns, and their memory until it is released."""

from __future__ import annotations

import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_ros.core.products import Cloud
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.buffer_pool import BufferPool
from mast3r_ros.wire.cloud_packing import CloudPacker
from mast3r_ros.wire.stamps import header_fields

HEADER = header_fields(17, 'left_optical')


def made_up(seed=0, width=7, height=5):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(height, width, 3)).astype(np.float32)
    points[rng.random((height, width)) < 0.3] = np.nan
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    return points, image, rng.random((height, width), dtype=np.float32)


def read_back(fields):
    """Read a packed cloud as its fields describe it, the way any other program would."""
    kinds = {7: '<f4'}
    layout = np.dtype(
        {
            'names': [field['name'] for field in fields['fields']],
            'formats': [kinds[field['datatype']] for field in fields['fields']],
            'offsets': [field['offset'] for field in fields['fields']],
            'itemsize': fields['point_step'],
        }
    )
    assert len(fields['data']) == fields['row_step'] * fields['height']
    assert fields['row_step'] == fields['point_step'] * fields['width']
    assert not fields['is_bigendian']
    return np.frombuffer(fields['data'], layout).reshape(fields['height'], fields['width'])


def assert_holds(cloud, points, image, confidence):
    for axis, name in enumerate('xyz'):
        np.testing.assert_array_equal(cloud[name], points[..., axis])
    np.testing.assert_array_equal(cloud['confidence'], confidence)
    words = cloud['rgb'].copy().view(np.uint32)
    red, green, blue = (image[..., channel].astype(np.uint32) for channel in range(3))
    np.testing.assert_array_equal(words, red << 16 | green << 8 | blue)


@given(
    seed=st.integers(0, 2**32 - 1),
    width=st.integers(1, 30),
    height=st.integers(1, 20),
    downsample=st.integers(1, 5),
)
@settings(max_examples=100, deadline=None)
def test_every_value_comes_back_at_its_row_and_column(seed, width, height, downsample):
    made = made_up(seed, width, height)
    cloud = read_back(CloudPacker().pack_arrays(HEADER, *made, downsample=downsample))
    assert cloud.shape == (-(-height // downsample), -(-width // downsample))
    kept = np.s_[::downsample, ::downsample]
    assert_holds(cloud, *(item[kept] for item in made))


def test_wide_cloud_is_not_scrambled_into_a_tall_one():
    fields = CloudPacker().pack_arrays(HEADER, *made_up(width=7, height=5))
    assert (fields['width'], fields['height']) == (7, 5)
    assert fields['header'] is HEADER


def test_cloud_takes_its_colours_from_its_grid():
    points, image, confidence = made_up()
    packed = CloudPacker().pack(HEADER, Cloud(Grid(image), points, confidence))
    assert_holds(read_back(packed), points, image, confidence)


def test_missing_points_are_nan_and_said_to_be_possible():
    points, image, confidence = made_up()
    points[2, 3] = np.nan
    fields = CloudPacker().pack_arrays(HEADER, points, image, confidence)
    assert fields['is_dense'] is False
    assert np.isnan([read_back(fields)[name][2, 3] for name in 'xyz']).all()


def test_white_is_a_number_and_no_nan():
    """With its upper byte set, the colour would be a NaN, which some readers take for no point."""
    points, image, confidence = made_up()
    image[:] = 255
    packed = CloudPacker().pack_arrays(HEADER, points, image, confidence)
    assert np.isfinite(read_back(packed)['rgb']).all()


def test_views_that_are_not_contiguous_are_packed_too():
    points, image, confidence = made_up(width=14, height=10)
    made = points[::2, ::-2], image[::2, ::-2], confidence[::2, ::-2]
    image[0].setflags(write=False)
    assert_holds(read_back(CloudPacker().pack_arrays(HEADER, *made)), *made)


def test_data_is_the_one_kind_that_rclpy_takes_without_a_check():
    data = CloudPacker().pack_arrays(HEADER, *made_up())['data']
    assert isinstance(data, array.array)
    assert data.typecode == 'B'


def test_unreleased_cloud_never_changes():
    packer = CloudPacker()
    first = packer.pack_arrays(HEADER, *made_up(1))
    kept = first['data'].tobytes()
    packer.pack_arrays(HEADER, *made_up(2))
    assert first['data'].tobytes() == kept


def test_released_memory_is_used_again():
    packer = CloudPacker()
    first = packer.pack_arrays(HEADER, *made_up(1))
    packer.release(first)
    second = packer.pack_arrays(HEADER, *made_up(2))
    assert second['data'] is first['data']
    assert_holds(read_back(second), *made_up(2))


def test_cloud_of_another_size_gets_its_own_memory():
    packer = CloudPacker()
    packer.release(packer.pack_arrays(HEADER, *made_up(1, 7, 5)))
    larger = packer.pack_arrays(HEADER, *made_up(2, 8, 5))
    assert_holds(read_back(larger), *made_up(2, 8, 5))


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (lambda p, i, c: (p[:-1], i, c), 'do not fit the image of 5x7'),
        (lambda p, i, c: (p, i[:, :-1], c), 'do not fit the image of 5x6'),
        (lambda p, i, c: (p, i, c[..., None]), 'do not fit the image'),
        (lambda p, i, c: (p, i.astype(np.float32), c), 'uint8 RGB'),
        (lambda p, i, c: (p, i[:0], c), 'is empty'),
        (lambda p, i, c: (p.astype(np.float64), i, c), 'points are float64'),
        (lambda p, i, c: (p, i, c.astype(np.float16)), 'confidence is float16'),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, said):
    with pytest.raises(InvalidInput, match=said):
        CloudPacker().pack_arrays(HEADER, *change(*made_up()))


def test_downsampling_by_nothing_is_refused():
    with pytest.raises(InvalidInput, match='downsample is 0'):
        CloudPacker().pack_arrays(HEADER, *made_up(), downsample=0)


def test_pool_hands_a_buffer_to_one_taker_only():
    pool = BufferPool()
    buffer = pool.take(8)
    pool.give_back(buffer)
    pool.give_back(buffer)
    assert pool.take(8) is buffer
    assert pool.take(8) is not buffer


def test_pool_does_not_grow_with_changing_sizes():
    pool = BufferPool()
    buffers = [pool.take(size) for size in range(1, 101)]
    for buffer in buffers:
        pool.give_back(buffer)
    reused = [pool.take(len(buffer)) is buffer for buffer in buffers]
    assert 0 < sum(reused) <= 8
    assert reused[-1]
