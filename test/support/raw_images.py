# SPDX-License-Identifier: Apache-2.0
"""Image messages of every encoding, made pixel by pixel without the package's own code."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np

PATTERNS = ('rggb', 'bggr', 'gbrg', 'grbg')
ORDERS = {'rgb': [0, 1, 2], 'bgr': [2, 1, 0], 'rgba': [0, 1, 2, 3], 'bgra': [2, 1, 0, 3]}


def message(rows, encoding, width, height=None, *, padding=0, big_endian=False, filler=0xA5):
    """An Image of rows of bytes (height, n), each followed by ``padding`` bytes of ``filler``."""
    rows = np.ascontiguousarray(rows).view(np.uint8).reshape(len(rows), -1)
    padded = np.full((len(rows), rows.shape[1] + padding), filler, np.uint8)
    padded[:, : rows.shape[1]] = rows
    return SimpleNamespace(
        width=width,
        height=len(rows) if height is None else height,
        encoding=encoding,
        is_bigendian=int(big_endian),
        step=padded.shape[1],
        data=padded.tobytes(),
    )


def samples_of(image, encoding):
    """The samples (H, W) or (H, W, C) of an RGB picture in an interleaved encoding."""
    name, bits = encoding.rstrip('0123456789'), encoding[len(encoding.rstrip('0123456789')) :]
    wide = image.astype(np.uint16) * 257 if bits == '16' else image
    if name == 'mono':
        return wide[..., 0]
    opaque = np.full((*image.shape[:2], 1), 77, wide.dtype)
    return np.concatenate([wide, opaque], axis=2)[..., ORDERS[name]]


def image_message(image, encoding, *, padding=0, big_endian=False):
    """An RGB picture as a message in an interleaved encoding; mono takes its red."""
    samples = samples_of(image, encoding)
    stored = samples.astype(samples.dtype.newbyteorder('>' if big_endian else '<'))
    return message(stored, encoding, image.shape[1], padding=padding, big_endian=big_endian)


def mosaic(image, pattern):
    """What a sensor behind that colour filter sees of an RGB picture."""
    seen = np.zeros(image.shape[:2], image.dtype)
    for place, colour in enumerate(pattern):
        rows, columns = slice(place // 2, None, 2), slice(place % 2, None, 2)
        seen[rows, columns] = image[rows, columns, 'rgb'.index(colour)]
    return seen


def yuv_planes(rng, width, height):
    """Random brightness (H, W) and colours U, V (H/2, W/2) that stay inside the RGB cube."""
    y = rng.integers(90, 160, (height, width), dtype=np.uint8)
    u, v = rng.integers(108, 148, (2, height // 2, width // 2), dtype=np.uint8)
    return y, u, v


def rgb_of_yuv(y, u, v):
    """RGB by the formula of ITU-R BT.601 for video levels; U and V at full resolution."""
    y, u, v = (np.asarray(plane, np.float64) for plane in (y, u, v))
    luma = (y - 16.0) * 255.0 / 219.0
    red = luma + 1.402 * 255.0 / 224.0 * (v - 128.0)
    blue = luma + 1.772 * 255.0 / 224.0 * (u - 128.0)
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    return np.clip(np.rint(np.stack([red, green, blue], axis=-1)), 0, 255)


def smooth_image(width, height):
    """An RGB picture of ramps, which interpolation keeps exactly."""
    v, u = np.mgrid[0:height, 0:width]
    return np.stack([2 * u + 10, 3 * v + 5, 240 - u - v], axis=-1).astype(np.uint8)


def random_image(rng, width, height):
    """An RGB picture of noise."""
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
