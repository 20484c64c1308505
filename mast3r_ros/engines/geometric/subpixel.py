# SPDX-License-Identifier: Apache-2.0
"""Disparity below the pixel: one step to equal grey levels, then smoothing within surfaces."""

from __future__ import annotations

import cv2
import numpy as np

from mast3r_ros.core.results import FloatArray
from mast3r_ros.engines.geometric.pixels import GrayArray
from mast3r_ros.engines.geometric.quality import mean

_WINDOW_PX = 5
_NOISE_VARIANCE = 10.0  # of the gradient in a window, squared grey levels: holds back flat ones
_MAX_STEP_PX = 0.5
_SURFACE_PX = 1.0  # disparities this much apart belong to different surfaces
_SMOOTH_PX = 3.0
_SMOOTHINGS = 2
_FAR_AWAY_PX = 16.0  # below all disparities: nothing is mixed with it


def refine(disparity: FloatArray, base: GrayArray, other: GrayArray) -> FloatArray:
    """Return the disparity to a fraction of a pixel; NaN stays NaN.

    :param disparity: to the pixel; what the matcher adds below is drawn towards whole pixels.
    """
    nothing = np.isnan(disparity)
    if nothing.all():
        return disparity
    refined = np.where(nothing, np.nanmin(disparity) - np.float32(_FAR_AWAY_PX), disparity)
    refined += _step(refined, base, other)
    for _ in range(_SMOOTHINGS):
        refined = np.asarray(cv2.bilateralFilter(refined, 5, _SURFACE_PX, _SMOOTH_PX), np.float32)
    np.copyto(refined, np.float32(np.nan), where=nothing)
    return refined


def _step(disparity: FloatArray, base: GrayArray, other: GrayArray) -> FloatArray:
    """Return the change that makes grey levels in a window most alike, whatever their offset."""
    height, width = disparity.shape
    x = np.arange(width, dtype=np.float32) - disparity
    y = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    levels = other.astype(np.float32)
    seen = cv2.remap(levels, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    gap = cv2.subtract(seen, base.astype(np.float32))
    slope = np.asarray(cv2.Sobel(base, cv2.CV_32F, 1, 0, ksize=1, scale=0.5))
    mean_slope = mean(slope, _WINDOW_PX)
    covariance = mean(slope * gap, _WINDOW_PX) - mean_slope * mean(gap, _WINDOW_PX)
    variance = mean(slope * slope, _WINDOW_PX) - mean_slope * mean_slope
    step = covariance / (variance + np.float32(_NOISE_VARIANCE))
    return np.asarray(np.clip(step, -_MAX_STEP_PX, _MAX_STEP_PX, out=step))
