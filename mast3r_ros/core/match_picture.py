# SPDX-License-Identifier: Apache-2.0
"""Both images side by side with their matches drawn across."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.views import ImageArray

LINES = 150
"""Matches drawn as lines; the rest are dots, or nothing could be seen."""

_GAP_PX = 8
_SUBPIXEL_BITS = 4  # OpenCV draws at 1/16 pixel with this shift


def draw_matches(
    image_1: ImageArray, image_2: ImageArray, uv_1: NDArray[Any], uv_2: NDArray[Any]
) -> ImageArray:
    """Return one picture of both images; partners share a colour, some are joined by a line.

    :param uv_1: (N, 2) pixels of image 1.
    :param uv_2: (N, 2) their partners in image 2.
    """
    canvas = _side_by_side(image_1, image_2)
    if len(uv_1) == 0:
        return canvas
    shift = np.array([image_1.shape[1] + _GAP_PX, 0])
    ends_1 = _fixed_point(uv_1)
    ends_2 = _fixed_point(np.asarray(uv_2) + shift)
    colors = _colors_by_place(np.asarray(uv_1), image_1)
    lined = set(np.linspace(0, len(uv_1) - 1, min(LINES, len(uv_1))).astype(int).tolist())
    for row, (end_1, end_2, color) in enumerate(zip(ends_1, ends_2, colors, strict=True)):
        for end in (end_1, end_2):
            cv2.circle(canvas, end, 2 << _SUBPIXEL_BITS, color, -1, cv2.LINE_AA, _SUBPIXEL_BITS)
        if row in lined:
            cv2.line(canvas, end_1, end_2, color, 1, cv2.LINE_AA, _SUBPIXEL_BITS)
    return canvas


def _side_by_side(image_1: ImageArray, image_2: ImageArray) -> ImageArray:
    height = max(image_1.shape[0], image_2.shape[0])
    width = image_1.shape[1] + _GAP_PX + image_2.shape[1]
    canvas = np.full((height, width, 3), 32, np.uint8)
    canvas[: image_1.shape[0], : image_1.shape[1]] = image_1
    canvas[: image_2.shape[0], image_1.shape[1] + _GAP_PX :] = image_2
    return canvas


def _fixed_point(uv: NDArray[Any]) -> list[tuple[int, int]]:
    scaled = np.rint(np.asarray(uv, np.float64) * (1 << _SUBPIXEL_BITS)).astype(int)
    return [(int(u), int(v)) for u, v in scaled]


def _colors_by_place(uv: NDArray[Any], image: ImageArray) -> list[tuple[int, int, int]]:
    """Colour by place in image 1, so that a wrong partner stands out from its neighbours."""
    place = (uv[:, 0] / image.shape[1] + uv[:, 1] / image.shape[0]) / 2
    steps = np.clip(place * 255, 0, 255).astype(np.uint8)
    bgr = cv2.applyColorMap(steps[:, None], cv2.COLORMAP_VIRIDIS)[:, 0]
    return [(int(r), int(g), int(b)) for b, g, r in bgr]
