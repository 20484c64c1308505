# SPDX-License-Identifier: Apache-2.0
"""Made-up descriptor maps: smooth as a network's, or without any order."""

from __future__ import annotations

import cv2
import numpy as np


def unit(vectors):
    """Scale every vector to length 1, as float32."""
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def random_map(height, width, dim=24, seed=0):
    """Return unit vectors without order: the nearest neighbours of a pixel are anywhere."""
    return unit(np.random.default_rng(seed).standard_normal((height, width, dim)))


def smooth_pair(height, width, *, noise=0.05, seed=0, dim=24):
    """Return two maps of one smooth field, the second bent by some pixels, both with noise.

    Detail of 4, 16 and 48 pixels is mixed as networks show it: pixels side by side are alike
    (cosine 0.99 without noise), pixels far from each other are not.

    :param noise: standard deviation of every channel's noise; the field's is about 1.
    """
    rng = np.random.default_rng(seed)
    margin = 32
    field = _field(rng, height + 2 * margin, width + 2 * margin, dim)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    x_there = x + margin - 12 + 6 * np.sin(y / 50)
    y_there = y + margin - 12 + 5 * np.cos(x / 60)
    bent = [cv2.remap(channel, x_there, y_there, cv2.INTER_CUBIC) for channel in field]
    inside = field[:, margin : margin + height, margin : margin + width]
    maps = [np.moveaxis(inside, 0, -1), np.stack(bent, axis=-1)]
    return tuple(unit(one + noise * rng.standard_normal(one.shape)) for one in maps)


def _field(rng, height, width, dim):
    channels = []
    for _ in range(dim):
        channel = np.zeros((height, width), np.float32)
        for size_px, share in ((4, 0.3), (16, 0.6), (48, 1.0)):
            grain = rng.standard_normal((height, width)).astype(np.float32)
            blurred = cv2.GaussianBlur(grain, (0, 0), size_px / 2)
            channel += share * blurred / blurred.std()
        channels.append(channel)
    return np.stack(channels)
