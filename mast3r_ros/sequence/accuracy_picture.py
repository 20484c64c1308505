# SPDX-License-Identifier: Apache-2.0
"""Two pictures of a trajectory's accuracy: both ways from above, and the errors over time."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.views import ImageArray
from mast3r_ros.sequence.accuracy import Accuracy

_WIDTH, _HEIGHT, _MARGIN = 900, 700, 70
_BAND = 260  # height of one diagram
_WHITE, _BLACK, _GREY = (255, 255, 255), (20, 20, 20), (205, 205, 205)
_TRUE, _FOUND = (120, 120, 120), (214, 72, 30)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FEWEST_TICKS = 3

Values = NDArray[np.float64]


def draw_paths(accuracy: Accuracy) -> ImageArray:
    """Return both ways as seen along the direction in which they spread least."""
    true, found = accuracy.truth.positions, accuracy.estimate.positions
    center = true.mean(axis=0)
    axes = np.linalg.svd(true - center)[2][:2] if len(true) > 2 else np.eye(3)[:2]
    flat = [(points - center) @ axes.T for points in (true, found)]
    picture = np.full((_HEIGHT, _WIDTH, 3), 255, np.uint8)
    low, high = np.concatenate(flat).min(axis=0), np.concatenate(flat).max(axis=0)
    room = np.array([_WIDTH - 2 * _MARGIN, _HEIGHT - 2 * _MARGIN])
    per_metre = float((room / np.maximum(high - low, 1e-9)).min())
    corner = np.array([_WIDTH, _HEIGHT]) / 2 - per_metre * (low + high) / 2
    for points, color in zip(flat, (_TRUE, _FOUND), strict=True):
        pixels = np.rint(points * per_metre + corner).astype(np.int32)
        cv2.polylines(picture, [pixels], False, color, 2, cv2.LINE_AA)
        cv2.circle(picture, pixels[0].tolist(), 5, color, -1, cv2.LINE_AA)
    _draw_scale_bar(picture, per_metre)
    rmse = accuracy.summary()['ate_m'].rmse
    _write(picture, f'true path (grey) and estimate; ATE RMSE {rmse:.4g}', (_MARGIN, 35))
    return picture


def draw_errors(accuracy: Accuracy) -> ImageArray:
    """Return the errors of position and rotation, whole and relative, over time."""
    stamps_s = (accuracy.truth.stamps_ns - accuracy.truth.stamps_ns[0]) * 1e-9
    relative_s = stamps_s[accuracy.delta :]
    diagrams = [
        _diagram('ATE, position', stamps_s, accuracy.ate_m),
        _diagram('ATE, rotation in degrees', stamps_s, accuracy.ate_deg),
        _diagram(f'RPE over {accuracy.delta}, position', relative_s, accuracy.rpe_m),
        _diagram(f'RPE over {accuracy.delta}, degrees', relative_s, accuracy.rpe_deg),
    ]
    return np.vstack(diagrams)


def _diagram(title: str, x: Values, y: Values) -> ImageArray:
    picture = np.full((_BAND, _WIDTH, 3), 255, np.uint8)
    top, bottom = 40, _BAND - 40
    left, right = _MARGIN + 20, _WIDTH - 20
    high = max(float(y.max()), 1e-12) * 1.05
    span = max(float(x[-1] - x[0]), 1e-12)
    for value in _ticks(high):
        row = round(bottom - (bottom - top) * value / high)
        cv2.line(picture, (left, row), (right, row), _GREY, 1)
        _write(picture, f'{value:g}', (5, row + 5), 0.42)
    for value in _ticks(span):
        column = round(left + (right - left) * value / span)
        _write(picture, f'{value:g}', (column - 10, bottom + 18), 0.42)
    columns = left + (x - x[0]) / span * (right - left)
    rows = bottom - y / high * (bottom - top)
    line = np.rint(np.stack([columns, rows], axis=1)).astype(np.int32)
    cv2.polylines(picture, [line], False, _FOUND, 2)
    _write(picture, f'{title}: mean {y.mean():.4g}, largest {y.max():.4g}', (left, 25))
    _write(picture, 's', (right - 5, bottom + 34), 0.42)
    return picture


def _draw_scale_bar(picture: ImageArray, per_metre: float) -> None:
    """Draw a length of 1, 2 or 5 times a power of ten, about a fifth of the width."""
    length = _round_length(0.2 * _WIDTH / per_metre)
    left, row = _MARGIN, _HEIGHT - 30
    cv2.line(picture, (left, row), (left + round(length * per_metre), row), _BLACK, 2)
    _write(picture, f'{length:g}', (left, row - 8))


def _ticks(high: float) -> list[float]:
    """Return round values from 0 up to the highest."""
    step = _round_length(high / _FEWEST_TICKS)
    return [step * number for number in range(int(high / step) + 1)]


def _round_length(most: float) -> float:
    """Return the largest number that is 1, 2 or 5 times a power of ten and not above another."""
    power = 10.0 ** math.floor(math.log10(most))
    steps = [step * power for step in (1.0, 2.0, 5.0)]
    return max((step for step in steps if step <= most), default=power)


def _write(picture: ImageArray, text: str, place: Sequence[int], size: float = 0.55) -> None:
    cv2.putText(picture, text, tuple(place), _FONT, size, _BLACK, 1, cv2.LINE_AA)
