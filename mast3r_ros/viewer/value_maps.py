# SPDX-License-Identifier: Apache-2.0
"""Depth, confidence and error of every pixel as pictures, each with its scale and its unit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.views import ImageArray
from mast3r_ros.viewer.colours import CONFIDENCE, DEPTH, coloured
from mast3r_ros.viewer.lettering import (
    INK,
    PAPER,
    number_text,
    round_ticks,
    text_size,
    write,
)

ERROR = cv2.COLORMAP_PLASMA

TITLE_PX = 32
"""Rows above the map, which begins at the left edge of the picture."""

WIDTH_PX = 640
"""Long side of a small map, about: each value becomes a square of whole pixels."""

MOST_PX = 1600
"""Long side of a large map at most: values are left out, never averaged."""

STRIPES = ((255, 255, 255), (185, 185, 185))
"""A pixel without a value is striped in these; no colour map comes near them."""

_STRIPE_PX = 4
_LOW_SHARE, _HIGH_SHARE = 0.02, 0.98  # of the values, between which colours change
_BAR_PX, _GAP_PX, _TICK_PX, _FOOT_PX = 20, 16, 5, 32
_FOOT_LEFT_PX = 48  # of the words beside the sign for no value
_LEAST_BAR_PX = 120  # beside a map that is lower

Values = NDArray[Any]
Paint = Callable[[Values], ImageArray]


def draw_depth(depth: Values, unit: str) -> ImageArray:
    """Return a picture of depth (H, W); near is bright, NaN is striped.

    :param unit: what the depth is measured in.
    """
    ticks = round_ticks(*_ends(depth))
    return _drawn(
        f'depth, {unit}',
        depth,
        ticks,
        lambda values: coloured(-np.asarray(values), -ticks[-1], -ticks[0], DEPTH),
    )


def draw_confidence(confidence: Values) -> ImageArray:
    """Return a picture of confidence (H, W), from 1 (none) up; sure is bright, NaN is striped."""
    ticks = round_ticks(1.0, max(_ends(confidence)[1], 1.0))
    ticks[0] = 1.0
    return _drawn(
        'confidence, 1 is none',
        confidence,
        ticks,
        lambda values: coloured(values, ticks[0], ticks[-1], CONFIDENCE),
    )


def draw_error(error: Values, title: str) -> ImageArray:
    """Return a picture of errors (H, W), from 0 up; large is bright, NaN is striped.

    :param title: what is wrong by so much, and in which unit.
    """
    ticks = round_ticks(0.0, _ends(error)[1])
    return _drawn(title, error, ticks, lambda values: coloured(values, ticks[0], ticks[-1], ERROR))


def _ends(values: Values) -> tuple[float, float]:
    """Return between which values the colours change; 0 and 1 where there is no value."""
    known = np.asarray(values)[np.isfinite(values)]
    if known.size == 0:
        return 0.0, 1.0
    low, high = np.quantile(known, (_LOW_SHARE, _HIGH_SHARE))
    return float(low), float(high)


def _drawn(title: str, values: Values, ticks: list[float], paint: Paint) -> ImageArray:
    """Return title, map, scale and the sign of pixels without a value on one sheet."""
    shown = _fitted(np.asarray(values, np.float32))
    known = shown[np.isfinite(shown)]
    height, width = shown.shape
    bar_px = max(height, _LEAST_BAR_PX)
    labels = _labels(ticks, known)
    column = _GAP_PX + _BAR_PX + _TICK_PX + 4 + max(text_size(label)[0] for label in labels) + 8
    foot = f'no value: {100 * (1.0 - known.size / shown.size):.1f} %'
    words_px = max(8 + text_size(title)[0], _FOOT_LEFT_PX + text_size(foot)[0]) + 8
    size = (TITLE_PX + bar_px + _FOOT_PX, max(width + column, words_px), 3)
    sheet = np.full(size, PAPER, np.uint8)
    write(sheet, title, 8, TITLE_PX / 2)
    sheet[TITLE_PX : TITLE_PX + height, :width] = _striped(paint(shown), np.isfinite(shown))
    _draw_bar(sheet, width + _GAP_PX, bar_px, ticks, labels, paint)
    _draw_sign(sheet, foot)
    return sheet


def _fitted(values: Values) -> Values:
    """Return the values repeated or thinned to a size that is good to look at."""
    longest = max(values.shape)
    if longest > MOST_PX:
        step = -(-longest // MOST_PX)
        return np.ascontiguousarray(values[::step, ::step])
    times = max(round(WIDTH_PX / longest), 1)
    return values.repeat(times, axis=0).repeat(times, axis=1)


def _striped(picture: ImageArray, known: NDArray[np.bool_]) -> ImageArray:
    rows, columns = np.nonzero(~known)
    picture[rows, columns] = np.array(STRIPES, np.uint8)[(rows + columns) // _STRIPE_PX % 2]
    return picture


def _labels(ticks: list[float], known: Values) -> list[str]:
    """Return what stands at the ticks; the ends tell when there are values beyond them."""
    labels = [number_text(tick, ticks) for tick in ticks]
    if known.size and known.min() < ticks[0]:
        labels[0] = f'< {labels[0]}'
    if known.size and known.max() > ticks[-1]:
        labels[-1] = f'> {labels[-1]}'
    return labels


def _draw_bar(
    sheet: ImageArray, left: int, height: int, ticks: list[float], labels: list[str], paint: Paint
) -> None:
    """Draw the scale beside the map, its largest value on top."""
    top, bottom = TITLE_PX, TITLE_PX + height - 1
    scale = np.linspace(ticks[-1], ticks[0], height, dtype=np.float32)[:, None]
    sheet[top : bottom + 1, left : left + _BAR_PX] = paint(scale)
    right = left + _BAR_PX
    cv2.rectangle(sheet, (left, top), (right - 1, bottom), INK, 1)
    row_px = text_size('0')[1] + 6
    last = float('inf')
    for tick, label in zip(ticks, labels, strict=True):
        row = bottom - (tick - ticks[0]) / (ticks[-1] - ticks[0]) * (bottom - top)
        if last - row < row_px and tick != ticks[-1]:
            continue  # a map too low for all of them
        cv2.line(sheet, (right, round(row)), (right + _TICK_PX - 1, round(row)), INK, 1)
        write(sheet, label, right + _TICK_PX + 4, row)
        last = row


def _draw_sign(sheet: ImageArray, text: str) -> None:
    """Draw below the map how a pixel without a value looks, and write how many there are."""
    row, left, right = sheet.shape[0] - _FOOT_PX // 2, 8, _FOOT_LEFT_PX - 8
    place = np.s_[row - 8 : row + 8, left:right]
    sheet[place] = _striped(sheet[place], np.zeros((16, right - left), np.bool_))
    cv2.rectangle(sheet, (left, row - 8), (right - 1, row + 7), INK, 1)
    write(sheet, text, _FOOT_LEFT_PX, row)
