# SPDX-License-Identifier: Apache-2.0
"""The comparisons of build/bench.json as bars: times faster, each group on its own axis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

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
    text_size,
    write,
)

BAR: Colour = (0, 114, 178)  # with the next, of Okabe and Ito: apart for every colour vision
_GOAL: Colour = (213, 94, 0)
_GREY: Colour = (110, 110, 110)
BARS_PX = 520
"""What an axis from 0 to its end takes."""

_MARGIN, _HEAD_PX, _ROW_PX, _AXIS_PX = 16, 40, 46, 40
_TITLE_PX = 88
_BAR_PX = 16

Rows = Sequence[dict[str, Any]]  # as in build/bench.json


def draw_ratios(report: dict[str, Any]) -> ImageArray:
    """Return the chart of a report as ``make bench`` writes it."""
    rows: Rows = report['rows']
    groups = list(dict.fromkeys(row['group'] for row in rows))
    left = _MARGIN + max((text_size(text)[0] for row in rows for text in _names(row)), default=0)
    right = max((text_size(_figures(row))[0] for row in rows), default=0)
    width = left + 16 + BARS_PX + 32 + right + _MARGIN
    parts = [_title(report, width)]
    for group in groups:
        members = [row for row in rows if row['group'] == group]
        parts.append(_group(group, members, left + 16, width))
    return np.vstack(parts)


def _title(report: dict[str, Any], width: int) -> ImageArray:
    sheet = np.full((_TITLE_PX, width, 3), PAPER, np.uint8)
    write(sheet, 'times faster than what one would use instead; longer is better', _MARGIN, 20)
    write(sheet, f'{report["processor"]}, {report["cores"]} cores', _MARGIN, 44, _GREY)
    place = _MARGIN
    for colour, size, text in ((INK, (2, 16), 'as fast'), (_GOAL, (2, 16), 'goal')):
        sheet[60 : 60 + size[1], place : place + size[0]] = colour
        write(sheet, text, place + 10, 68)
        place += 10 + text_size(text)[0] + 24
    cv2.line(sheet, (place, 68), (place + 24, 68), INK, 1)
    write(sheet, 'slowest to fastest round', place + 32, 68)
    return sheet


def _group(name: str, rows: Rows, left: int, width: int) -> ImageArray:
    sheet = np.full((_HEAD_PX + _ROW_PX * len(rows) + _AXIS_PX, width, 3), PAPER, np.uint8)
    measured = [row for row in rows if 'ratio' in row]
    longest = max((max(row['ratio_high'], row.get('goal') or 0.0) for row in measured), default=1)
    ticks = round_ticks(0.0, max(longest, 1.0), 8)
    bottom = sheet.shape[0] - _AXIS_PX

    def column(ratio: float) -> int:
        return left + round(ratio / ticks[-1] * BARS_PX)

    write(sheet, name.upper(), _MARGIN, _HEAD_PX / 2)
    for tick in ticks:
        cv2.line(sheet, (column(tick), _HEAD_PX - 6), (column(tick), bottom), LINE, 1)
        label = f'{number_text(tick, ticks)}x'
        write(sheet, label, column(tick) - text_size(label)[0] / 2, bottom + 14)
    for number, row in enumerate(rows):
        _draw_row(sheet, row, _HEAD_PX + _ROW_PX * number + _ROW_PX // 2, left, column)
    for ratio, colour in ((0.0, LINE), (1.0, INK)):
        cv2.line(sheet, (column(ratio), _HEAD_PX - 6), (column(ratio), bottom), colour, 2)
    return sheet


def _draw_row(
    sheet: ImageArray,
    row: dict[str, Any],
    middle: int,
    left: int,
    column: Callable[[float], int],
) -> None:
    name, other = _names(row)
    write(sheet, name, left - 16 - text_size(name)[0], middle - 9)
    write(sheet, other, left - 16 - text_size(other)[0], middle + 11, _GREY)
    figures_left = left + BARS_PX + 32
    if 'ratio' not in row:
        write(sheet, _figures(row), figures_left, middle, _GREY)
        return
    top = middle - _BAR_PX // 2
    cv2.rectangle(sheet, (left, top), (column(row['ratio']), top + _BAR_PX - 1), BAR, -1)
    low, high = column(row['ratio_low']), column(row['ratio_high'])
    cv2.line(sheet, (low, middle), (high, middle), INK, 1)
    for end in (low, high):
        cv2.line(sheet, (end, middle - 4), (end, middle + 4), INK, 1)
    if row.get('goal'):
        place = column(row['goal'])
        cv2.line(sheet, (place, top - 5), (place, top + _BAR_PX + 4), _GOAL, 2)
    write(sheet, _figures(row), figures_left, middle)


def _names(row: dict[str, Any]) -> tuple[str, str]:
    return row['name'], f'against {row["other"]}' if 'other' in row else ''


def _figures(row: dict[str, Any]) -> str:
    if 'ratio' not in row:
        return 'not measured'
    return f'{row["ratio"]:.3g}x  ({row["ratio_low"]:.3g} to {row["ratio_high"]:.3g})'
