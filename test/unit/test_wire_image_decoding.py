# SPDX-License-Identifier: Apache-2.0
"""Image messages become RGB whatever their encoding, padding and byte order, or are refused."""

from __future__ import annotations

import array
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import raw_images

from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.encodings import ENCODINGS
from mast3r_ros.wire.image_decoding import MAX_PIXELS, decode_image, decode_mask

INTERLEAVED = [
    f'{name}{bits}' for name in ('mono', 'rgb', 'bgr', 'rgba', 'bgra') for bits in (8, 16)
]
UV_HALVES = {'nv12': (0, 1), 'nv21': (1, 0)}


@pytest.fixture
def rng():
    return np.random.default_rng(3)


def expected_of(image, encoding):
    return image[..., [0, 0, 0]] if encoding.startswith('mono') else image


@given(
    encoding=st.sampled_from(INTERLEAVED),
    width=st.integers(1, 40),
    height=st.integers(1, 20),
    padding=st.integers(0, 9),
    big_endian=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=200, deadline=None)
def test_stored_pictures_come_back_exactly(encoding, width, height, padding, big_endian, seed):
    image = raw_images.random_image(np.random.default_rng(seed), width, height)
    message = raw_images.image_message(image, encoding, padding=padding, big_endian=big_endian)
    decoded = decode_image(message)
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, expected_of(image, encoding))


@pytest.mark.parametrize('bits', [8, 16])
@pytest.mark.parametrize('pattern', raw_images.PATTERNS)
def test_bayer_pattern_gives_the_right_colours(pattern, bits):
    image = raw_images.smooth_image(36, 24)
    seen = raw_images.mosaic(image, pattern)
    stored = seen if bits == 8 else seen.astype('<u2') * 257
    message = raw_images.message(stored, f'bayer_{pattern}{bits}', 36, padding=3)
    inside = np.s_[2:-2, 2:-2]  # at the rim there is nothing to interpolate between
    np.testing.assert_allclose(decode_image(message)[inside].astype(int), image[inside], atol=1)


@pytest.mark.parametrize('pattern', raw_images.PATTERNS)
@pytest.mark.parametrize('size', [(3, 3), (4, 3), (5, 7)])
def test_bayer_works_at_the_smallest_sizes(pattern, size):
    grey = np.full((size[1], size[0]), 90, np.uint8)
    assert np.all(decode_image(raw_images.message(grey, f'bayer_{pattern}8', size[0])) == 90)


@pytest.mark.parametrize(
    ('encoding', 'order'),
    [('yuv422', 'uyvy'), ('uyvy', 'uyvy'), ('yuv422_yuy2', 'yuyv'), ('yuyv', 'yuyv')],
)
@pytest.mark.parametrize('padding', [0, 5])
def test_yuv422_follows_the_standard(rng, encoding, order, padding):
    y, u, v = raw_images.yuv_planes(rng, 16, 12)
    u, v = u.repeat(2, axis=0), v.repeat(2, axis=0)  # a colour for each row
    parts = {'u': u, 'v': v}
    brightness = iter((y[:, ::2], y[:, 1::2]))
    columns = [next(brightness) if name == 'y' else parts[name] for name in order]
    rows = np.stack(columns, axis=-1).reshape(12, 32)
    expected = raw_images.rgb_of_yuv(y, u.repeat(2, axis=1), v.repeat(2, axis=1))
    decoded = decode_image(raw_images.message(rows, encoding, 16, padding=padding))
    np.testing.assert_allclose(decoded.astype(int), expected, atol=2)


@pytest.mark.parametrize('encoding', UV_HALVES)
@pytest.mark.parametrize('padding', [0, 6])
def test_semi_planar_yuv_follows_the_standard(rng, encoding, padding):
    y, *colours = raw_images.yuv_planes(rng, 16, 12)
    interleaved = np.stack([colours[place] for place in UV_HALVES[encoding]], axis=-1)
    rows = np.concatenate([y, interleaved.reshape(6, 16)])
    u, v = (plane.repeat(2, axis=0).repeat(2, axis=1) for plane in colours)
    decoded = decode_image(raw_images.message(rows, encoding, 16, 12, padding=padding))
    assert decoded.shape == (12, 16, 3)
    np.testing.assert_allclose(decoded.astype(int), raw_images.rgb_of_yuv(y, u, v), atol=2)


@pytest.mark.parametrize(
    ('encoding', 'as_if'), [('8UC1', 'mono8'), ('8UC3', 'bgr8'), ('8UC4', 'bgra8')]
)
def test_opencv_type_names_are_read_in_its_usual_order(rng, encoding, as_if):
    image = raw_images.random_image(rng, 9, 5)
    message = raw_images.image_message(image, as_if)
    expected = decode_image(message)
    message.encoding = encoding
    np.testing.assert_array_equal(decode_image(message), expected)


@pytest.mark.parametrize('big_endian', [False, True])
def test_16_bits_are_scaled_over_their_whole_range(big_endian):
    values = np.array([[0, 128, 129, 257, 32768, 65406, 65535]], np.uint16)
    stored = values.astype('>u2' if big_endian else '<u2')
    message = raw_images.message(stored, 'mono16', 7, big_endian=big_endian)
    assert decode_image(message)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 254, 255]


@pytest.mark.parametrize('bits', [8, 10, 12, 14])
def test_cameras_of_fewer_bits_use_the_whole_range_too(bits):
    top = 2**bits - 1
    values = np.array([[0, top // 2, top, 65535]], '<u2')
    decoded = decode_image(raw_images.message(values, 'mono16', 4), significant_bits=bits)
    assert decoded[0, :, 0].tolist() == [0, 127, 255, 255]


@pytest.mark.parametrize('bits', [0, 7, 17])
def test_impossible_bit_depth_is_refused(bits):
    message = raw_images.message(np.zeros((1, 1), '<u2'), 'mono16', 1)
    with pytest.raises(InvalidInput, match='8 to 16'):
        decode_image(message, significant_bits=bits)


def containers(data):
    flat = np.frombuffer(data, np.uint8)
    return {
        'bytes': data,
        'bytearray': bytearray(data),
        'array': array.array('B', data),
        'memoryview': memoryview(data),
        'numpy': flat,
        'numpy of every other byte': np.repeat(flat, 2)[::2],
        'signed': flat.view(np.int8),
        'shaped': flat.reshape(5, -1),
        'list': list(data),
        'tuple': tuple(data),
    }


@pytest.mark.parametrize('kind', containers(bytes(5)))
def test_data_may_come_in_any_container_of_bytes(rng, kind):
    image = raw_images.random_image(rng, 7, 5)
    message = raw_images.image_message(image, 'rgb8')
    message.data = containers(message.data)[kind]
    np.testing.assert_array_equal(decode_image(message), image)


@pytest.mark.parametrize('encoding', ['rgb8', 'mono16', 'rgb16'])
def test_samples_at_odd_addresses_are_read(rng, encoding):
    image = raw_images.random_image(rng, 7, 5)
    message = raw_images.image_message(image, encoding, padding=1)
    message.data = memoryview(b'?' + message.data)[1:]
    np.testing.assert_array_equal(decode_image(message), expected_of(image, encoding))


@pytest.mark.parametrize('kind', ['bytes', 'bytearray', 'array', 'memoryview', 'numpy'])
def test_rgb8_is_a_read_only_view_of_the_message(rng, kind):
    message = raw_images.image_message(raw_images.random_image(rng, 7, 5), 'rgb8')
    message.data = containers(message.data)[kind]
    decoded = decode_image(message)
    assert np.shares_memory(decoded, np.frombuffer(message.data, np.uint8))
    assert not decoded.flags.writeable


def test_bytes_after_the_last_row_do_no_harm(rng):
    image = raw_images.random_image(rng, 7, 5)
    message = raw_images.image_message(image, 'bgr8')
    message.data += b'tail'
    np.testing.assert_array_equal(decode_image(message), image)


BROKEN = {
    'width 0': ({'width': 0}, 'at least one pixel'),
    'height 0': ({'height': 0}, 'at least one pixel'),
    'negative width': ({'width': -4}, 'width is below 0'),
    'fractional width': ({'width': 4.0}, 'width is a float'),
    'width as text': ({'width': '4'}, 'width is a str'),
    'width beyond 32 bits': ({'width': 10**5000}, 'width is below 0 or above'),
    'no height': ({'height': None}, 'height is a NoneType'),
    'huge': ({'width': 2**31, 'height': 2**31, 'step': 2**32 - 1}, f'at most {MAX_PIXELS}'),
    'more rows than data': ({'height': 7}, 'data has 60 bytes; 7 rows of step 12 need 84'),
    'step 0': ({'step': 0}, 'step is 0; a row of 4 pixels in rgb8 has 12 bytes'),
    'short step': ({'step': 11}, 'step is 11; a row of 4 pixels'),
    'absurd step': ({'step': 2**32 - 1}, 'data has 60 bytes; 5 rows'),
    'step as float': ({'step': float('nan')}, 'step is a float'),
    'truncated': ({'data': bytes(59)}, 'data has 59 bytes'),
    'empty': ({'data': b''}, 'data has 0 bytes'),
    'no data': ({'data': None}, 'data is a NoneType'),
    'a number for data': ({'data': 60}, 'data is a int'),
    'text for data': ({'data': '0' * 60}, 'data is a str'),
    'words for data': ({'data': array.array('H', range(60))}, 'data is a array'),
    'floats for data': ({'data': np.zeros(60)}, 'data is a ndarray'),
    'times for data': ({'data': np.zeros(60, 'M8[s]')}, 'data is a ndarray'),
    'numbers above 255': ({'data': [256] * 60}, 'data is a list'),
    'list of lists': ({'data': [[1, 2, 3]] * 20}, 'data is a list'),
    'every other byte of memory': ({'data': memoryview(bytes(120))[::2]}, 'data is a memoryview'),
    'unknown encoding': ({'encoding': 'rgb9'}, "'rgb9' cannot be read; allowed are mono8"),
    'depth image': ({'encoding': '16UC1'}, "'16UC1' cannot be read"),
    'encoding in capitals': ({'encoding': 'RGB8'}, 'cannot be read'),
    'long encoding': ({'encoding': 'x' * 10**6}, r"'x{40}'\.\.\. cannot be read"),
    'no encoding': ({'encoding': None}, 'encoding is a NoneType'),
    'odd width for 4:2:2': ({'encoding': 'yuv422', 'width': 3}, 'multiples of 2 and 1'),
    'odd height for 4:2:0': ({'encoding': 'nv12'}, 'multiples of 2 and 2'),
    '4:2:0 without colours': (
        {'encoding': 'nv12', 'height': 4, 'step': 15},
        'data has 60 bytes; 6 rows of step 15 need 90',
    ),
    'bayer too small': ({'encoding': 'bayer_rggb8', 'width': 2}, 'at least 3x3'),
}


def broken(name):
    fields = {
        'width': 4,
        'height': 5,
        'encoding': 'rgb8',
        'is_bigendian': 0,
        'step': 12,
        'data': bytes(60),
    }
    return SimpleNamespace(**{**fields, **BROKEN[name][0]})


@pytest.mark.parametrize('name', BROKEN)
def test_broken_image_is_refused_in_words(name):
    with pytest.raises(InvalidInput, match=BROKEN[name][1]) as caught:
        decode_image(broken(name))
    assert len(str(caught.value)) < 500


def test_every_field_may_be_missing():
    for name in ('width', 'height', 'encoding', 'step', 'data'):
        message = raw_images.image_message(np.zeros((2, 2, 3), np.uint8), 'rgb8')
        delattr(message, name)
        with pytest.raises(InvalidInput, match=name):
            decode_image(message)


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_every_encoding_gives_a_picture_of_its_size(encoding):
    size = 6
    message = SimpleNamespace(
        width=size, height=size, encoding=encoding, is_bigendian=0, step=8 * size, data=bytes(500)
    )
    assert decode_image(message).shape == (size, size, 3)


@pytest.mark.parametrize('encoding', ['mono8', '8UC1'])
def test_mask_is_false_exactly_where_it_is_0(encoding):
    rows = np.array([[0, 1, 255], [2, 0, 0]], np.uint8)
    mask = decode_mask(raw_images.message(rows, encoding, 3, padding=2))
    assert mask.dtype == np.bool_
    assert mask.tolist() == [[False, True, True], [True, False, False]]


def test_mask_of_colours_is_refused():
    message = raw_images.image_message(np.zeros((2, 2, 3), np.uint8), 'rgb8')
    with pytest.raises(InvalidInput, match="'rgb8'; allowed are mono8, 8UC1"):
        decode_mask(message)


def test_truncated_mask_is_refused():
    message = raw_images.message(np.zeros((4, 4), np.uint8), 'mono8', 4)
    message.data = message.data[:-1]
    with pytest.raises(InvalidInput, match='data has 15 bytes'):
        decode_mask(message)
