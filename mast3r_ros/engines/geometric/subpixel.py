# SPDX-License-Identifier: Apache-2.0
"""Disparity below the pixel: one step to equal grey levels, then smoothing within surfaces."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import MaskArray
from mast3r_ros.engines.geometric.pixels import GrayArray
from mast3r_ros.engines.geometric.quality import mean

_WINDOW_PX = 5
_NOISE_VARIANCE = 10.0  # of the gradient in a window, squared grey levels: holds back flat ones
_MAX_STEP_PX = 0.5
_SURFACE_PX = 1.5  # disparities this much apart belong to different surfaces
_EVEN_PX = 20.0  # neighbours of the same surface count nearly the same
_SMOOTHINGS = 2
_FAR_AWAY_PX = 16.0  # below all disparities: nothing is mixed with it
_ALIKE_SHARE = 0.7  # of the variance of a window that may differ between both pictures
_TELLING_VARIANCE = 25.0  # squared grey levels: windows with less look alike by chance


@dataclass(frozen=True, eq=False)
class Refined:
    """Disparity to a fraction of a pixel.

    :param values: (H, W) pixels; NaN where there is none.
    :param alike: (H, W) where the windows of both pictures look the same but for brightness.
    """

    values: FloatArray
    alike: MaskArray


def refine(disparity: FloatArray, base: GrayArray, other: GrayArray) -> Refined:
    """Return the disparity to a fraction of a pixel; NaN stays NaN.

    :param disparity: to the pixel; what the matcher adds below is drawn towards whole pixels.
    """
    nothing = np.isnan(disparity)
    if nothing.all():
        return Refined(disparity, np.zeros(disparity.shape, np.bool_))
    refined = np.where(nothing, np.nanmin(disparity) - np.float32(_FAR_AWAY_PX), disparity)
    step, alike = _compare(_gap(refined, base, other), base)
    refined += step
    for _ in range(_SMOOTHINGS):
        refined = np.asarray(cv2.bilateralFilter(refined, 5, _SURFACE_PX, _EVEN_PX), np.float32)
    np.copyto(refined, np.float32(np.nan), where=nothing)
    return Refined(refined, alike & ~nothing)


def _gap(disparity: FloatArray, base: GrayArray, other: GrayArray) -> FloatArray:
    """Return how much brighter the other picture is where each pixel is seen in it."""
    height, width = disparity.shape
    x = np.arange(width, dtype=np.float32) - disparity
    y = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    levels = other.astype(np.float32)
    seen = cv2.remap(levels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cv2.subtract(seen, base.astype(np.float32)), np.float32)


def _compare(gap: FloatArray, base: GrayArray) -> tuple[FloatArray, MaskArray]:
    """Return the change of disparity that makes windows most alike, and where they then are.

    :param gap: how much brighter the other picture is; an offset of a whole window is ignored.
    """
    slope = np.asarray(cv2.Sobel(base, cv2.CV_32F, 1, 0, ksize=1, scale=0.5))
    mean_slope, mean_gap = mean(slope, _WINDOW_PX), mean(gap, _WINDOW_PX)
    covariance = mean(slope * gap, _WINDOW_PX) - mean_slope * mean_gap
    slope_variance = mean(slope * slope, _WINDOW_PX) - mean_slope * mean_slope
    step = covariance / (slope_variance + np.float32(_NOISE_VARIANCE))
    left_over = mean(gap * gap, _WINDOW_PX) - mean_gap * mean_gap - step * covariance
    variance = _variance(base)
    alike = (left_over < np.float32(_ALIKE_SHARE) * variance) & (variance > _TELLING_VARIANCE)
    return np.clip(step, -_MAX_STEP_PX, _MAX_STEP_PX, out=step), np.asarray(alike)


def _variance(image: GrayArray) -> FloatArray:
    """Return the variance of the grey levels in the window around each pixel."""
    window = _WINDOW_PX, _WINDOW_PX
    squares = cv2.sqrBoxFilter(image, cv2.CV_32F, window)
    average = cv2.boxFilter(image, cv2.CV_32F, window)
    return np.asarray(squares - average * average, np.float32)
