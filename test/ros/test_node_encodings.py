# SPDX-License-Identifier: Apache-2.0
"""Every way to send a picture arrives at the engine as the same picture, over DDS."""

from __future__ import annotations

import numpy as np
import pytest
from raw_images import image_message, message, mosaic, rgb_of_yuv, smooth_image, yuv_planes
from ros_cameras import as_image, compressed_image
from ros_engines import ScriptedEngine
from ros_world import World

WIDTH, HEIGHT = 46, 34
IMAGE = smooth_image(WIDTH, HEIGHT)
ORDERS = ('rgb', 'bgr', 'rgba', 'bgra', 'mono')
INTERLEAVED = [f'{order}{bits}' for order in ORDERS for bits in (8, 16)]
LAYOUTS = {
    'gapless': {},
    'padded': {'padding': 7},
    'big-endian': {'big_endian': True},
    'padded big-endian': {'padding': 6, 'big_endian': True},
}


class Eye:
    """A node, and cameras to show it one pair after the other."""

    def __init__(self, world, transport):
        self._world, self.engine = world, ScriptedEngine()
        world.start({'input.image_transport': transport}, engine=self.engine, name=transport)
        self._stats = world.listen('stats', node=f'/{transport}')
        self._cameras = world.stereo(compressed=transport == 'compressed')
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
    """A node for raw and one for compressed pictures; module-wide, as most tests send one."""
    with World() as world:
        yield Eye(world, 'raw'), Eye(world, 'compressed')


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
@pytest.mark.parametrize('encoding', ['bayer_rggb8', 'bayer_bggr8', 'bayer_gbrg8', 'bayer_grbg8'])
def test_mosaics_arrive_with_their_colours_in_place(eye, encoding, padding):
    rows = mosaic(IMAGE, encoding[6:10])
    fields = message(rows, encoding, WIDTH, padding=padding)
    seen = eye.sees(lambda stamp_ns: as_image(fields, stamp_ns))
    inside = np.s_[2:-2, 2:-2]  # at the border interpolation has no neighbours
    assert np.abs(seen[inside].astype(int) - IMAGE[inside]).max() <= 2


@pytest.mark.parametrize('padding', [0, 4])
@pytest.mark.parametrize('encoding', ['yuv422', 'yuv422_yuy2', 'nv12', 'nv21'])
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
    order = (colours, y) if encoding == 'yuv422' else (y, colours)
    return np.stack(order, axis=-1).reshape(len(y), -1)


@pytest.mark.parametrize('codec', ['png', 'jpg'])
def test_compressed_pictures_arrive(compressed_eye, codec):
    seen = compressed_eye.sees(lambda stamp_ns: compressed_image(IMAGE, stamp_ns, codec))
    assert np.abs(seen.astype(int) - IMAGE).max() <= (0 if codec == 'png' else 12)
