# SPDX-License-Identifier: Apache-2.0
"""Bench rows of messages: reading images, packing clouds and depth, against the usual ways."""

from __future__ import annotations

import array
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from side_by_side import Missing, Row, compare

from mast3r_ros.wire.cloud_packing import CloudPacker
from mast3r_ros.wire.compressed_decoding import decode_compressed
from mast3r_ros.wire.image_decoding import decode_image
from mast3r_ros.wire.image_encoding import ImageEncoder
from mast3r_ros.wire.stamps import header_fields

WIDTH, HEIGHT = 640, 480  # of the camera
CLOUD_WIDTH, CLOUD_HEIGHT = 512, 384
HEADER = header_fields(0, 'camera')
GROUP = 'wire'
ROUNDS = 41

Array = NDArray[Any]


def rows() -> Iterator[Row | Missing]:
    """Measure one row after another."""
    yield from _reading()
    yield from _packing()


def _reading() -> Iterator[Row]:
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    wide = rng.integers(0, 65536, (HEIGHT, WIDTH), dtype=np.uint16)
    cases: tuple[tuple[str, Array, int | None], ...] = (
        ('rgb8', picture, None),
        ('bgr8', picture, cv2.COLOR_BGR2RGB),
        ('bayer_rggb8', picture[..., 0].copy(), cv2.COLOR_BayerRGGB2RGB),
        ('mono16', wide, cv2.COLOR_GRAY2RGB),
    )
    for encoding, pixels, to_rgb in cases:
        message = _message(pixels, encoding)
        ours, theirs = _ours(message), _bridge_way(message, pixels, to_rgb)
        yield _compare(f'{encoding} {WIDTH}x{HEIGHT} to RGB', ours, theirs, 'cv_bridge-like copy')
    message = _message(picture, 'bgr8')
    yield _compare(
        f'bgr8 {WIDTH}x{HEIGHT} to RGB, NumPy alone',
        _ours(message),
        lambda: np.array(message.data, np.uint8).reshape(picture.shape)[..., ::-1].copy(),
        'array, [..., ::-1]',
    )
    smooth = cv2.GaussianBlur(picture, (0, 0), 3)
    content = array.array('B', cv2.imencode('.jpg', smooth)[1].tobytes())
    compressed = SimpleNamespace(format='rgb8; jpeg compressed bgr8', data=content)
    yield _compare(
        f'JPEG {WIDTH}x{HEIGHT} to RGB, checked',
        lambda: decode_compressed(compressed),
        lambda: cv2.cvtColor(
            cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB
        ),
        'cv2.imdecode, unchecked',
    )


def _packing() -> Iterator[Row]:
    rng = np.random.default_rng(0)
    points = rng.normal(size=(CLOUD_HEIGHT, CLOUD_WIDTH, 3)).astype(np.float32)
    image = rng.integers(0, 256, points.shape, dtype=np.uint8)
    confidence = rng.random(points.shape[:2], dtype=np.float32)
    cloud = f'cloud {CLOUD_WIDTH}x{CLOUD_HEIGHT}'
    packer, encoder = CloudPacker(), ImageEncoder()

    def pack() -> None:
        packer.release(packer.pack_arrays(HEADER, points, image, confidence))

    def pack_depth() -> None:
        encoder.release(encoder.float_map(HEADER, points[..., 2]))

    yield _compare(
        f'{cloud} from arrays',
        pack,
        lambda: usual_cloud(points, image, confidence),
        'create_cloud-like, structured array',
    )
    yield _compare(
        f'{cloud} from points',
        pack,
        lambda: _tuples_way(points, image, confidence),
        'create_cloud-like, list of tuples',
        rounds=3,
    )
    yield _compare(
        f'depth {CLOUD_WIDTH}x{CLOUD_HEIGHT} as 32FC1',
        pack_depth,
        lambda: array.array('B').frombytes(points[..., 2].tobytes()),
        'tobytes, frombytes',
    )


def _compare(
    name: str,
    ours: Callable[[], object],
    other: Callable[[], object],
    other_name: str,
    rounds: int = ROUNDS,
) -> Row:
    return compare(GROUP, name, ours, other, other_name=other_name, rounds=rounds)


def _message(pixels: Array, encoding: str) -> SimpleNamespace:
    return SimpleNamespace(
        width=pixels.shape[1],
        height=pixels.shape[0],
        encoding=encoding,
        is_bigendian=0,
        step=pixels.nbytes // pixels.shape[0],
        data=array.array('B', pixels.tobytes()),
    )


def _ours(message: SimpleNamespace) -> Callable[[], object]:
    return lambda: decode_image(message)


def _bridge_way(
    message: SimpleNamespace, pixels: Array, to_rgb: int | None
) -> Callable[[], object]:
    """See the bytes as an array, cut the padding off by a copy, convert into another, scale."""

    def convert() -> Array:
        stored = np.ndarray(pixels.shape, pixels.dtype, buffer=message.data)
        copied = stored[: message.height, : message.width].copy()
        picture: Array = copied if to_rgb is None else np.asarray(cv2.cvtColor(copied, to_rgb))
        if picture.dtype == np.uint16:
            picture = np.asarray(cv2.convertScaleAbs(picture, alpha=255.0 / 65535.0))
        return picture

    return convert


def _structured(points: Array, image: Array, confidence: Array) -> Array:
    names = ('x', 'y', 'z', 'rgb', 'confidence')
    cloud = np.empty(points.shape[:2], np.dtype([(name, np.float32) for name in names]))
    red, green, blue = (image[..., channel].astype(np.uint32) for channel in range(3))
    for axis, name in enumerate('xyz'):
        cloud[name] = points[..., axis]
    cloud['rgb'] = (red << 16 | green << 8 | blue).view(np.float32)
    cloud['confidence'] = confidence
    return cloud


def usual_cloud(points: Array, image: Array, confidence: Array) -> array.array[int]:
    """Return the bytes of a cloud by way of a structured array, as create_cloud makes them."""
    data = array.array('B')
    data.frombytes(memoryview(_structured(points, image, confidence)).cast('B'))
    return data


def _tuples_way(points: Array, image: Array, confidence: Array) -> array.array[int]:
    cloud = _structured(points, image, confidence).reshape(-1)
    data = array.array('B')
    data.frombytes(np.array(list(map(tuple, cloud.tolist())), cloud.dtype).tobytes())
    return data
