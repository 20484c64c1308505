# SPDX-License-Identifier: Apache-2.0
"""How long pairs took, as a histogram: from the measured times, on axes that begin at zero."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from mast3r_ros.core.views import ImageArray
from mast3r_ros.viewer.lettering import (
    INK,
    LINE,
    PAPER,
    Colour,
    number_text,
    round_ticks,
    round_up,
    text_size,
    write,
)

_WIDTH, _HEIGHT = 800, 300  # of one histogram
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 48, 64, 44  # around the bars
_MARGIN = 12
_BINS = 80  # across the axis, about
_BAR: Colour = (86, 180, 233)  # with the next two, of Okabe and Ito: apart for every colour vision
_MEDIAN: Colour = (0, 0, 0)
_P99: Colour = (213, 94, 0)


@dataclass(frozen=True)
class Times:
    """What one histogram shows.

    :param title: what was measured.
    :param values_ms: one a pair.
    """

    title: str
    values_ms: Sequence[float]


def draw_histograms(measured: Sequence[Times]) -> ImageArray:
    """Return histograms one below the other, all on the same axis of milliseconds."""
    longest = max(max(times.values_ms) for times in measured)
    ticks = round_ticks(0.0, longest, 8)
    width = max(_WIDTH, *(_MARGIN * 2 + text_size(_title(times))[0] for times in measured))
    return np.vstack([_histogram(times, ticks, width) for times in measured])


def bins(values_ms: Sequence[float], end_ms: float) -> tuple[list[int], float]:
    """Return how many values fall into each bin from 0 to the end of the axis, and its width."""
    width = round_up(end_ms / _BINS)
    number = round(end_ms / width)
    places = np.minimum((np.asarray(values_ms) / width).astype(int), number - 1)
    return np.bincount(places, minlength=number).tolist(), width


def _histogram(times: Times, ticks: list[float], width: int) -> ImageArray:
    sheet = np.full((_HEIGHT, width, 3), PAPER, np.uint8)
    counts, width_ms = bins(times.values_ms, ticks[-1])
    heights = [tick for tick in round_ticks(0.0, max(counts), 4) if tick == round(tick)]
    right, bottom = width - _RIGHT, _HEIGHT - _BOTTOM

    def column(value_ms: float) -> int:
        return round(_LEFT + value_ms / ticks[-1] * (right - _LEFT))

    def row(count: float) -> int:
        return round(bottom - count / heights[-1] * (bottom - _TOP))

    for count in heights:
        cv2.line(sheet, (_LEFT, row(count)), (right, row(count)), LINE, 1)
        label = f'{count:.0f}'
        write(sheet, label, _LEFT - 8 - text_size(label)[0], row(count))
    for place, count in enumerate(counts):
        if count:
            corners = (
                (column(place * width_ms), row(count)),
                (column((place + 1) * width_ms), bottom),
            )
            cv2.rectangle(sheet, *corners, _BAR, -1)
            cv2.rectangle(sheet, *corners, INK, 1)
    for tick in ticks:
        cv2.line(sheet, (column(tick), bottom), (column(tick), bottom + 5), INK, 1)
        label = number_text(tick, ticks)
        write(sheet, label, column(tick) - text_size(label)[0] / 2, bottom + 18)
    cv2.line(sheet, (_LEFT, bottom), (right, bottom), INK, 1)
    write(sheet, 'ms', right + 12, bottom)
    write(sheet, 'pairs', _LEFT - 20 - text_size('pairs')[0], bottom + 18)
    _write_head(sheet, times, column, bottom)
    return sheet


def _write_head(
    sheet: ImageArray, times: Times, column: Callable[[float], int], bottom: int
) -> None:
    """Write what was measured, and mark the median and the slowest hundredth."""
    write(sheet, _title(times), _MARGIN, 16)
    left = _MARGIN
    median = float(np.median(times.values_ms))
    p99 = float(np.quantile(times.values_ms, 0.99, method='nearest'))
    for name, value, colour, step_px in (('median', median, _MEDIAN, 1), ('p99', p99, _P99, 8)):
        _line(sheet, (column(value), _TOP - 12), (column(value), bottom), colour, step_px)
        _line(sheet, (left, 42), (left + 28, 42), colour, step_px)
        text = f'{name} {value:.4g} ms'
        write(sheet, text, left + 36, 42)
        left += 36 + text_size(text)[0] + 28


def _title(times: Times) -> str:
    pairs = len(times.values_ms)
    return f'{times.title}: {pairs} {"pair" if pairs == 1 else "pairs"}'


def _line(
    sheet: ImageArray, start: tuple[int, int], end: tuple[int, int], colour: Colour, step_px: int
) -> None:
    """Draw a line across or down, in dashes where the step is more than a pixel."""
    along = np.linspace(start, end, max(abs(end[0] - start[0]), abs(end[1] - start[1])) + 1)
    kept = along[np.arange(len(along)) // step_px % 2 == 0] if step_px > 1 else along
    for x, y in np.rint(kept).astype(int):
        sheet[max(y - 1, 0) : y + 1, max(x - 1, 0) : x + 1] = colour
