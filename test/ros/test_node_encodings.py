# SPDX-License-Identifier: Apache-2.0
"""Every way to send a picture arrives at the engine as the same picture, over DDS."""

from __future__ import annotations

import array

import cv2
import numpy as np
import pytest
from raw_images import (
    PATTERNS,
    image_message,
    message,
    mosaic,
    rgb_of_yuv,
    smooth_image,
    yuv_planes,
)
from ros_cameras import as_image, compressed_image
from ros_engines import ScriptedEngine
from ros_world import World

from mast3r_ros.wire.encodings import ENCODINGS

WIDTH, HEIGHT = 46, 34
IMAGE = smooth_image(WIDTH, HEIGHT)
ORDERS = ('rgb', 'bgr', 'rgba', 'bgra', 'mono')
INTERLEAVED = [f'{order}{bits}' for order in ORDERS for bits in (8, 16)]
MOSAICS = [f'bayer_{pattern}{bits}' for pattern in PATTERNS for bits in (8, 16)]
SHARED_COLOURS = ['yuv422', 'uyvy', 'yuv422_yuy2', 'yuyv', 'nv12', 'nv21']
NAMED_BY_TYPE = {'8UC1': 'mono8', '8UC3': 'bgr8', '8UC4': 'bgra8'}
LAYOUTS = {
    'gapless': {},
    'padded': {'padding': 7},
    'big-endian': {'big_endian': True},
    'padded big-endian': {'padding': 6, 'big_endian': True},
}


class Eye:
    """A node, and cameras to show it one pair after the other."""

    def __init__(self, world, transport, **settings):
        self._world, self.engine = world, ScriptedEngine()
        named = {f'input.{name}': value for name, value in settings.items()}
        space = '_'.join([transport, *(str(value) for value in settings.values())])
        world.start(
            {'input.image_transport': transport, **named}, engine=self.engine, namespace=space
        )
        self._stats = world.listen('stats', node=f'/{space}/mast3r')
        compressed = transport == 'compressed'
        self._cameras = [
            world.camera(f'{space}/{side}/image', compressed=compressed)
            for side in ('left', 'right')
        ]
        world.ready(*self._cameras)
        self._shown = 0

    def sees(self, make):
        """Return what the engine is handed for a message, made with its stamp."""
        self._shown += 1
        stamp_ns = self._shown * 10**9
        for camera in self._cameras:
            self._world.deliver(camera, make(stamp_ns))
        self._stats.of_stamp(stamp_ns)
        return self.engine.pairs[-1][0].image


@pytest.fixture(scope='module')
def eyes():
    """A node for each way in; module-wide, as most tests send one picture."""
    with World() as world:
        yield (
            Eye(world, 'raw'),
            Eye(world, 'compressed'),
            Eye(world, 'raw', significant_bits=12),
            Eye(world, 'compressed', significant_bits=12),
        )


@pytest.fixture
def eye(eyes):
    return eyes[0]


@pytest.fixture
def compressed_eye(eyes):
    return eyes[1]


@pytest.mark.parametrize('layout', LAYOUTS)
@pytest.mark.parametrize('encoding', INTERLEAVED)
def test_interleaved_pictures_arrive_whole(eye, encoding, layout):
    fields = image_message(IMAGE, encoding, **LAYOUTS[layout])
    seen = eye.sees(lambda stamp_ns: as_image(fields, stamp_ns))
    expected = IMAGE[..., :1].repeat(3, axis=2) if encoding.startswith('mono') else IMAGE
    np.testing.assert_array_equal(seen, expected)


@pytest.mark.parametrize('padding', [0, 5])
@pytest.mark.parametrize('encoding', MOSAICS)
def test_mosaics_arrive_with_their_colours_in_place(eye, encoding, padding):
    wide = IMAGE if encoding.endswith('8') else IMAGE.astype('<u2') * 257
    rows = mosaic(wide, encoding[6:10])
    fields = message(rows, encoding, WIDTH, padding=padding)
    seen = eye.sees(lambda stamp_ns: as_image(fields, stamp_ns))
    inside = np.s_[2:-2, 2:-2]  # at the border interpolation has no neighbours
    assert np.abs(seen[inside].astype(int) - IMAGE[inside]).max() <= 2


@pytest.mark.parametrize('padding', [0, 4])
@pytest.mark.parametrize('encoding', SHARED_COLOURS)
def test_pictures_with_shared_colours_arrive(eye, encoding, padding):
    y, u, v = yuv_planes(np.random.default_rng(3), WIDTH, HEIGHT)
    shared = (2, 2) if encoding.startswith('nv') else (1, 2)
    if shared == (1, 2):
        u, v = u.repeat(2, axis=0), v.repeat(2, axis=0)
    fields = message(yuv_rows(encoding, y, u, v), encoding, WIDTH, HEIGHT, padding=padding)
    seen = eye.sees(lambda stamp_ns: as_image(fields, stamp_ns))
    full = [plane.repeat(shared[0], axis=0).repeat(shared[1], axis=1) for plane in (u, v)]
    assert np.abs(seen - rgb_of_yuv(y, *full)).max() <= 3


def yuv_rows(encoding, y, u, v):
    """Lay brightness and colours out as the encoding has them."""
    if encoding.startswith('nv'):
        colours = (u, v) if encoding == 'nv12' else (v, u)
        return np.concatenate([y, np.stack(colours, axis=-1).reshape(len(u), -1)])
    colours = np.stack([u, v], axis=-1).reshape(y.shape)
    order = (colours, y) if encoding in ('yuv422', 'uyvy') else (y, colours)
    return np.stack(order, axis=-1).reshape(len(y), -1)


@pytest.mark.parametrize('encoding', NAMED_BY_TYPE)
def test_pictures_named_by_their_type_arrive_as_opencv_has_them(eye, encoding):
    fields = image_message(IMAGE, NAMED_BY_TYPE[encoding])
    fields.encoding = encoding
    seen = eye.sees(lambda stamp_ns: as_image(fields, stamp_ns))
    expected = IMAGE[..., :1].repeat(3, axis=2) if encoding == '8UC1' else IMAGE
    np.testing.assert_array_equal(seen, expected)


def test_every_encoding_that_is_read_is_tested_here():
    assert {*INTERLEAVED, *MOSAICS, *SHARED_COLOURS, *NAMED_BY_TYPE} == set(ENCODINGS)


def test_a_12_bit_camera_in_mono16_uses_the_whole_range(eyes):
    values = (np.arange(HEIGHT * WIDTH) % 4096).astype('<u2').reshape(HEIGHT, WIDTH)
    fields = message(values, 'mono16', WIDTH)
    expected = np.rint(values * (255.0 / 4095.0))
    for eye, brightness in ((eyes[2], expected), (eyes[0], np.rint(values / 257.0))):
        seen = eye.sees(lambda stamp_ns: as_image(fields, stamp_ns))
        np.testing.assert_array_equal(seen, brightness[..., None].repeat(3, axis=2))


def test_a_12_bit_camera_may_send_png(eyes):
    values = np.linspace(0, 4095, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)

    def make(stamp_ns):
        sent = compressed_image(IMAGE, stamp_ns)
        sent.format = 'mono16; png compressed '
        sent.data = array.array('B', cv2.imencode('.png', values)[1].tobytes())
        return sent

    expected = np.rint(values * (255.0 / 4095.0))
    np.testing.assert_array_equal(eyes[3].sees(make)[..., 0], expected)


@pytest.mark.parametrize('codec', ['png', 'jpg'])
def test_compressed_pictures_arrive(compressed_eye, codec):
    seen = compressed_eye.sees(lambda stamp_ns: compressed_image(IMAGE, stamp_ns, codec))
    assert np.abs(seen.astype(int) - IMAGE).max() <= (0 if codec == 'png' else 12)
