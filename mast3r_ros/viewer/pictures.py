# SPDX-License-Identifier: Apache-2.0
"""The page's pictures, small as they travel: both images with matches, depth beside confidence."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.match_picture import draw_matches
from mast3r_ros.core.views import ImageArray
from mast3r_ros.viewer.colours import CONFIDENCE, DEPTH, coloured
from mast3r_ros.viewer.parts import CloudPart, ImagePart, MatchPart

WIDTH = 800
"""Pixels across of every picture, whatever the cameras have."""

MOST_MATCHES = 400
"""Matches drawn; drawing every one of thousands costs more than the eye gains."""

_GAP = 8


def match_picture(images: ImagePart, matches: MatchPart | None) -> ImageArray:
    """Return both images side by side, some matches joined; view 1 alone where view 2 lacks."""
    if images.image_2 is None:
        return _wide(images.image_1, WIDTH)
    half = (WIDTH - _GAP) // 2
    image_1, image_2 = _wide(images.image_1, half), _wide(images.image_2, half)
    nothing: NDArray[Any] = np.empty((0, 2))
    if matches is None or len(matches.uv_1) == 0:
        return draw_matches(image_1, image_2, nothing, nothing)
    rows = np.linspace(0, len(matches.uv_1) - 1, min(len(matches.uv_1), MOST_MATCHES)).astype(int)
    uv_1 = _scaled(matches.uv_1[rows], matches.size_1, image_1)
    uv_2 = _scaled(matches.uv_2[rows], matches.size_2, image_2)
    inside = np.isfinite(uv_1).all(axis=1) & np.isfinite(uv_2).all(axis=1)
    return draw_matches(image_1, image_2, uv_1[inside], uv_2[inside])


def depth_and_confidence(
    cloud: CloudPart, depth_ends: tuple[float, float], confidence_ends: tuple[float, float]
) -> ImageArray:
    """Return both as colours side by side; where there is no point, both are grey.

    Near is bright: what is close matters most to whoever flies.
    """
    half = (WIDTH - _GAP) // 2
    near, far = depth_ends
    places = _sampled(cloud.depth, half)
    depth = coloured(-cloud.depth[places], -far, -near, DEPTH)
    sure = coloured(cloud.known_confidence[places], *confidence_ends, CONFIDENCE)
    pictures = [_wide(depth, half), _wide(sure, half)]
    gap = np.full((pictures[0].shape[0], _GAP, 3), 32, np.uint8)
    return np.hstack([pictures[0], gap, pictures[1]])


def _wide(image: ImageArray, width: int) -> ImageArray:
    """Return the image so wide, in its own proportions."""
    height = max(round(image.shape[0] * width / image.shape[1]), 1)
    smaller = width < image.shape[1]
    way = cv2.INTER_AREA if smaller else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)


def _sampled(values: NDArray[Any], width: int) -> tuple[NDArray[Any], ...]:
    """Return places that thin a map to about so many columns: depth must not be averaged."""
    step = max(values.shape[1] // width, 1)
    return np.ix_(np.arange(0, values.shape[0], step), np.arange(0, values.shape[1], step))


def _scaled(uv: NDArray[Any], size: tuple[int, int], image: ImageArray) -> NDArray[np.float64]:
    """Move pixels of an image of ``size`` (width, height) to the one that is drawn."""
    factor = np.array([image.shape[1] / max(size[0], 1), image.shape[0] / max(size[1], 1)])
    return np.asarray((np.asarray(uv, np.float64) + 0.5) * factor - 0.5)
