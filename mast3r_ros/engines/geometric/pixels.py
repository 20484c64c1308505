# SPDX-License-Identifier: Apache-2.0
"""Maps of pixels: their own places, and values read between them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.results import FloatArray

GrayArray = NDArray[np.uint8]  # (H, W)


def pixel_grid(width: int, height: int) -> FloatArray:
    """Return (height, width, 2): x and y of every pixel."""
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    return np.stack([x, y], axis=-1)


def sample(values: FloatArray, pixels: FloatArray, interpolation: int) -> FloatArray:
    """Read a map at pixels (H, W, 2); NaN outside, and where NaN takes part."""
    nan = float('nan')
    return np.asarray(
        cv2.remap(
            values,
            pixels,
            None,
            interpolation,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(nan, nan, nan, nan),
        )
    )
