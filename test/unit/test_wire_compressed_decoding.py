# SPDX-License-Identifier: Apache-2.0
"""JPEG and PNG messages become RGB as image_transport means them; damaged files are refused."""

from __future__ import annotations

import array
import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import raw_images

from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.compressed_decoding import decode_compressed

IMAGE = raw_images.smooth_image(40, 30)
JPEG_LOSS = 6  # grey levels, of these ramps at quality 95


def file_of(pixels, suffix):
    """A file as OpenCV writes it from its own BGR order."""
    return cv2.imencode(suffix, pixels)[1].tobytes()


def message(content, format_text):
    return SimpleNamespace(format=format_text, data=content)


def png_claiming(width, height):
    head = b'IHDR' + struct.pack('>IIBBBBB', width, height, 8, 2, 0, 0, 0)
    crc = struct.pack('>I', zlib.crc32(head))
    end = struct.pack('>I', 0) + b'IEND' + struct.pack('>I', zlib.crc32(b'IEND'))
    return b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + head + crc + end


@pytest.mark.parametrize(
    'format_text',
    ['png', '', 'rgb8; png compressed bgr8', 'bgr8; png compressed bgr8', 'bgra8;png compressed '],
)
def test_png_is_decoded_exactly(format_text):
    content = file_of(IMAGE[..., ::-1], '.png')
    decoded = decode_compressed(message(content, format_text))
    assert decoded.dtype == np.uint8
    assert decoded.flags.c_contiguous
    np.testing.assert_array_equal(decoded, IMAGE)


@pytest.mark.parametrize('format_text', ['jpeg', 'jpg', 'rgb8; jpeg compressed bgr8'])
def test_jpeg_keeps_its_colours(format_text):
    content = file_of(IMAGE[..., ::-1], '.jpg')
    decoded = decode_compressed(message(content, format_text)).astype(int)
    np.testing.assert_allclose(decoded, IMAGE, atol=JPEG_LOSS)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_file_written_from_rgb_order_is_turned_back(suffix):
    """image_transport's name for a file whose red and blue were exchanged when it was written."""
    codec = 'jpeg' if suffix == '.jpg' else 'png'
    content = file_of(IMAGE, suffix)
    decoded = decode_compressed(message(content, f'rgb8; {codec} compressed rgb8'))
    np.testing.assert_allclose(decoded.astype(int), IMAGE, atol=JPEG_LOSS)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_grey_file_has_three_equal_channels(suffix):
    content = file_of(IMAGE[..., 0], suffix)
    decoded = decode_compressed(message(content, 'mono8; jpeg compressed mono8'))
    np.testing.assert_allclose(decoded.astype(int), IMAGE[..., [0, 0, 0]], atol=JPEG_LOSS)
    assert np.ptp(decoded, axis=2).max() == 0


def test_alpha_is_left_out():
    opaque = np.full((30, 40, 1), 9, np.uint8)
    content = file_of(np.concatenate([IMAGE[..., ::-1], opaque], axis=2), '.png')
    np.testing.assert_array_equal(decode_compressed(message(content, 'png')), IMAGE)


@pytest.mark.parametrize(('bits', 'factor'), [(16, 257.0), (12, 16.06)])
def test_16_bit_png_is_scaled_by_its_significant_bits(bits, factor):
    wide = np.rint(IMAGE[..., 1] * factor).astype(np.uint16)
    content = file_of(wide, '.png')
    decoded = decode_compressed(message(content, 'mono16; png compressed '), significant_bits=bits)
    np.testing.assert_array_equal(decoded[..., 0], IMAGE[..., 1])


@pytest.mark.parametrize('pattern', raw_images.PATTERNS)
def test_png_of_a_colour_mosaic_is_interpolated(pattern):
    content = file_of(raw_images.mosaic(IMAGE, pattern), '.png')
    decoded = decode_compressed(message(content, f'bayer_{pattern}8; png compressed '))
    inside = np.s_[2:-2, 2:-2]
    np.testing.assert_allclose(decoded[inside].astype(int), IMAGE[inside], atol=1)


def test_jpeg_of_a_colour_mosaic_is_grey_already():
    noise = raw_images.random_image(np.random.default_rng(0), 40, 30)
    content = file_of(noise[..., 0], '.jpg')
    decoded = decode_compressed(message(content, 'bayer_rggb8; jpeg compressed mono8'))
    assert np.ptp(decoded, axis=2).max() == 0


def test_picture_is_not_turned_by_its_exif_note():
    tags = b'II*\x00\x08\x00\x00\x00' + struct.pack('<HHHIHHI', 1, 0x112, 3, 1, 6, 0, 0)
    note = b'Exif\x00\x00' + tags
    plain = file_of(IMAGE[..., ::-1], '.jpg')
    turned = plain[:2] + b'\xff\xe1' + struct.pack('>H', 2 + len(note)) + note + plain[2:]
    assert cv2.imdecode(np.frombuffer(turned, np.uint8), cv2.IMREAD_COLOR).shape == (40, 30, 3)
    assert decode_compressed(message(turned, 'jpeg')).shape == (30, 40, 3)


@pytest.mark.parametrize('kind', [bytes, bytearray, memoryview, list])
def test_data_may_come_in_any_container_of_bytes(kind):
    content = file_of(IMAGE[..., ::-1], '.png')
    np.testing.assert_array_equal(decode_compressed(message(kind(content), 'png')), IMAGE)
    in_array = array.array('B', content)
    np.testing.assert_array_equal(decode_compressed(message(in_array, 'png')), IMAGE)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
@given(kept=st.floats(0.0, 0.99))
@settings(max_examples=60, deadline=None)
def test_cut_off_file_is_refused(suffix, kept):
    content = file_of(IMAGE, suffix)
    with pytest.raises(InvalidInput):
        decode_compressed(message(content[: int(len(content) * kept)], 'jpeg'))


def test_jpeg_with_padding_behind_its_end_is_read():
    content = file_of(IMAGE[..., ::-1], '.jpg') + bytes(100)
    assert decode_compressed(message(content, 'jpeg')).shape == (30, 40, 3)


@pytest.mark.parametrize(
    ('content', 'said'),
    [
        (b'', 'neither JPEG nor PNG'),
        (b'garbage', 'neither JPEG nor PNG'),
        (b'\x89PNG\r\n\x1a\n', 'neither JPEG nor PNG'),
        (png_claiming(8, 8), 'cannot be decoded'),
        (png_claiming(0, 8), 'at least one pixel'),
        (png_claiming(60000, 60000), 'at most 100000000 pixels'),
        (b'\xff\xd8\xff\xe0' + bytes(100), 'broken or cut off'),
        (b'\xff\xd8\xff' + b'\xff' * 100, 'broken or cut off'),
        (b'\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff' + bytes(50) + b'\xff\xd9', 'at most'),
    ],
)
def test_broken_file_is_refused_in_words(content, said):
    with pytest.raises(InvalidInput, match=said):
        decode_compressed(message(content, 'jpeg'))


def test_other_codec_is_named():
    content = file_of(IMAGE, '.tiff')
    with pytest.raises(InvalidInput, match="'rgb8; tiff compressed bgr8'"):
        decode_compressed(message(content, 'rgb8; tiff compressed bgr8'))


def test_mosaic_too_small_to_interpolate_is_refused():
    content = file_of(np.zeros((2, 2), np.uint8), '.png')
    with pytest.raises(InvalidInput, match='at least 3x3'):
        decode_compressed(message(content, 'bayer_rggb8; png compressed '))


@pytest.mark.parametrize('field', ['format', 'data'])
def test_every_field_may_be_missing(field):
    broken = message(file_of(IMAGE, '.png'), 'png')
    delattr(broken, field)
    with pytest.raises(InvalidInput, match=field):
        decode_compressed(broken)


@given(
    suffix=st.sampled_from(['.jpg', '.png']),
    place=st.floats(0, 1, exclude_max=True),
    noise=st.binary(min_size=1, max_size=40),
)
@settings(max_examples=150, deadline=None)
def test_damaged_file_is_refused_or_read_but_never_worse(suffix, place, noise):
    content = bytearray(file_of(IMAGE, suffix))
    start = int(place * len(content))
    content[start : start + len(noise)] = noise
    try:
        decoded = decode_compressed(message(bytes(content), 'jpeg'))
    except InvalidInput:
        return
    assert decoded.dtype == np.uint8
    assert decoded.ndim == 3


@given(format_text=st.text(), content=st.binary(max_size=200))
@settings(max_examples=150, deadline=None)
def test_garbage_is_refused(format_text, content):
    with pytest.raises(InvalidInput):
        decode_compressed(message(content, format_text))
