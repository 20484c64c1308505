# SPDX-License-Identifier: Apache-2.0
"""Brings 16-bit samples to 8 bits by one fixed factor, so that brightness never jumps."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.raw_fields import ByteArray

Samples = NDArray[np.uint8] | NDArray[np.uint16]

_BITS = (8, 16)


def to_8_bits(samples: Samples, significant_bits: int = 16) -> ByteArray:
    """Scale 16-bit samples so that the largest value of that many bits, or more, becomes 255.

    Samples of 8 bits come back as they are.

    :param significant_bits: 16 where samples fill the whole range; 10, 12 or 14 where the camera
        delivers so many in the low bits. It is never guessed from the picture: a dark one would
        then be brightened.
    """
    low, high = _BITS
    if not low <= significant_bits <= high:
        raise InvalidInput(f'significant_bits is {significant_bits}; allowed are {low} to {high}')
    if samples.dtype == np.uint8:
        return np.asarray(samples, np.uint8)
    scaled: Any = cv2.convertScaleAbs(samples, alpha=255.0 / (2**significant_bits - 1))
    return np.asarray(scaled, np.uint8).reshape(samples.shape)
