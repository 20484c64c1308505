# SPDX-License-Identifier: Apache-2.0
"""How sure a match is, how far away it is, and confidence on the scale that the networks use."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import MaskArray
from mast3r_ros.engines.geometric.pixels import GrayArray

MIN_PARALLAX_PX = 0.5  # with less, the depth could be anything up to infinity

_HALF_PARALLAX_PX = 2.0  # where parallax counts one half
_FULL_CONFIDENCE = 9.0  # above 1, which is none
_SURROUND_PX = 21  # side of the window whose matches speak for a pixel
_TEXTURE_PX = 7  # side of the window whose texture speaks for a pixel
_TEXTURE_REACH_PX = 31  # side of the window without any texture where nothing is believed
_EDGE_PX = 5  # side of the window that must be real for its texture to count
_LIKENESS_PX = 11  # side of the window that is compared
_ROUNDING_VARIANCE = 1.0  # product of both variances, in grey levels, that is rounding alone
_NOISE_ENERGY = 0.25  # squared grey levels a pixel: less is no texture
_HALF_ENERGY = 0.15  # squared grey levels a pixel: where texture counts one half


@dataclass(frozen=True, eq=False)
class Texture:
    """What there is to match in a picture.

    :param strength: (H, W) of each pixel's near surround, in squared grey levels a pixel.
    :param within_reach: (H, W) which pixels have any texture around them.
    """

    strength: FloatArray
    within_reach: MaskArray

    @classmethod
    def along_rows(cls, image: GrayArray, seen: MaskArray | None = None) -> Texture:
        """Return the texture for a search along the rows.

        :param seen: which pixels are real, so that their edge is no texture; None: all.
        """
        dx = _derivative(image, 1, 0)
        energy = dx * dx
        if seen is not None:
            inside = cv2.erode(seen.astype(np.uint8), np.ones((_EDGE_PX, _EDGE_PX), np.uint8))
            energy *= inside
        return cls._of_energy(energy)

    @classmethod
    def any_direction(cls, image: GrayArray) -> Texture:
        """Return the texture for a search in the plane: what the weakest direction has."""
        dx, dy = _derivative(image, 1, 0), _derivative(image, 0, 1)
        xx, yy, xy = (mean(part, _TEXTURE_PX) for part in (dx * dx, dy * dy, dx * dy))
        return cls._of_energy(0.5 * (xx + yy) - np.sqrt(0.25 * (xx - yy) ** 2 + xy * xy))

    @classmethod
    def _of_energy(cls, energy: FloatArray) -> Texture:
        """:param energy: (H, W) squared change of grey level along the direction of search."""
        within_reach = mean(energy, _TEXTURE_REACH_PX) > _NOISE_ENERGY
        return cls(mean(energy, _TEXTURE_PX), np.asarray(within_reach))


def match_quality(agreement: FloatArray, good: MaskArray, texture: Texture) -> FloatArray:
    """Return 0 to 1: how sure each match is.

    :param agreement: 0 to 1, how well the ways there and back agree.
    :param good: which pixels have a match; a pixel among others without is doubtful.
    """
    surround = share(good, _SURROUND_PX)
    surround *= surround
    strength = texture.strength / (texture.strength + np.float32(_HALF_ENERGY))
    return np.asarray(agreement * surround * surround * strength * good, np.float32)


def likeness(image: GrayArray, other: FloatArray) -> FloatArray:
    """Return how alike the windows of two pictures look, from -1 to 1, whatever their brightness.

    :param other: grey levels on the pixels of ``image``; NaN counts as unlike.
    """
    a, b = image.astype(np.float32), np.nan_to_num(other)
    mean_a, mean_b = mean(a, _LIKENESS_PX), mean(b, _LIKENESS_PX)
    together = mean(a * b, _LIKENESS_PX) - mean_a * mean_b
    variance_a = mean(a * a, _LIKENESS_PX) - mean_a * mean_a
    variance_b = mean(b * b, _LIKENESS_PX) - mean_b * mean_b
    spread = np.sqrt(np.maximum(variance_a * variance_b, np.float32(_ROUNDING_VARIANCE)))
    return np.asarray(together / spread)


def confidence(quality: FloatArray, parallax_px: FloatArray) -> FloatArray:
    """Return 1 where there is no depth, up to 10 for sure matches with much parallax.

    :param parallax_px: how far a match lies from where infinity would be; NaN for no match.
    """
    known = parallax_px / (parallax_px + np.float32(_HALF_PARALLAX_PX))
    grown = np.float32(1.0) + np.float32(_FULL_CONFIDENCE) * quality * known
    return np.asarray(np.where(parallax_px >= MIN_PARALLAX_PX, grown, np.float32(1.0)))


def mean(values: FloatArray, side_px: int) -> FloatArray:
    """Return the mean of the square window around each pixel."""
    return np.asarray(cv2.blur(values, (side_px, side_px)), np.float32)


def share(mask: MaskArray, side_px: int) -> FloatArray:
    """Return how much of the square window around each pixel the mask holds, from 0 to 1."""
    window = side_px, side_px
    return np.asarray(cv2.boxFilter(mask.view(np.uint8), cv2.CV_32F, window), np.float32)


def _derivative(image: GrayArray, x: int, y: int) -> FloatArray:
    """Return the change of grey level a pixel."""
    return np.asarray(cv2.Sobel(image, cv2.CV_32F, x, y, ksize=3, scale=1 / 8))
