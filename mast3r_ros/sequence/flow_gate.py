# SPDX-License-Identifier: Apache-2.0
"""A cheap look at whether anything moved, so that a standing camera costs no inference."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.views import ImageArray

_WIDTH_PX = 320  # of the pictures that are compared
_CORNERS = 200
_QUALITY, _APART_PX = 0.01, 7
_WINDOW = (15, 15)
_MIN_CORNERS = 20  # fewer tell nothing


class FlowGate:
    """Compares pictures with one that is remembered.

    :param limit_px: mean motion, in pixels of the picture, up to which a camera counts as still;
        0 never does.
    """

    def __init__(self, limit_px: float) -> None:
        self._limit_px = limit_px
        self._gray: NDArray[np.uint8] | None = None
        self._corners: NDArray[np.float32] | None = None

    def is_still(self, image: ImageArray) -> bool:
        """Whether this picture shows what the remembered one shows, nothing moved."""
        if self._limit_px <= 0.0 or self._gray is None or self._corners is None:
            return False
        gray, factor = _small(image)
        if gray.shape != self._gray.shape or len(self._corners) < _MIN_CORNERS:
            return False
        found, status, _ = cv2.calcOpticalFlowPyrLK(
            self._gray, gray, self._corners, None, winSize=_WINDOW, maxLevel=3
        )
        kept = status.ravel() > 0
        if kept.mean() < 0.8:
            return False
        moved = np.linalg.norm((found - self._corners)[kept], axis=-1)
        # A part of the picture that moves is news too: the mean of the liveliest fifth counts.
        liveliest = np.sort(moved.ravel())[-max(1, len(moved) // 5) :]
        return bool(liveliest.mean() / factor <= self._limit_px)

    def remember(self, image: ImageArray) -> None:
        """Take this picture for comparison with the next ones."""
        if self._limit_px <= 0.0:
            return
        self._gray, _ = _small(image)
        corners = cv2.goodFeaturesToTrack(self._gray, _CORNERS, _QUALITY, _APART_PX)
        self._corners = np.empty((0, 1, 2), np.float32) if corners is None else corners

    def forget(self) -> None:
        """Forget the picture: the next one counts as moved."""
        self._gray = None


def _small(image: ImageArray) -> tuple[NDArray[np.uint8], float]:
    """Return the grey picture at a small size, and its size over the picture's."""
    factor = min(1.0, _WIDTH_PX / image.shape[1])
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if factor < 1.0:
        gray = cv2.resize(gray, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return np.asarray(gray, np.uint8), factor
