# SPDX-License-Identifier: Apache-2.0
"""Words and round numbers on pictures that are drawn without a browser."""

from __future__ import annotations

import math

import cv2

from mast3r_ros.core.views import ImageArray

Colour = tuple[int, int, int]  # RGB

PAPER: Colour = (255, 255, 255)
INK: Colour = (30, 30, 30)
LINE: Colour = (200, 200, 200)

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_SIZE = 0.5
_MOST_STEPS = 100  # that an axis is ever divided into


def write(
    picture: ImageArray, text: str, left: float, middle: float, colour: Colour = INK
) -> None:
    """Write from the pixel ``left`` on, the middle of the letters at the row ``middle``."""
    _, height = text_size('0')
    place = (round(left), round(middle + height / 2))
    cv2.putText(picture, text, place, _FONT, _SIZE, colour, 1, cv2.LINE_AA)


def text_size(text: str) -> tuple[int, int]:
    """Return the width and height in pixels that a text takes."""
    (width, height), _ = cv2.getTextSize(text, _FONT, _SIZE, 1)
    return int(width), int(height)


def round_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return evenly spaced round numbers; the first and the last enclose ``low`` and ``high``.

    :param most: steps between them, about.
    """
    span = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-12)
    step = round_up(span / min(max(most, 1), _MOST_STEPS))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [number * step for number in range(first, max(last, first + 1) + 1)]


def round_up(value: float) -> float:
    """Return the next 1, 2 or 5 times a power of ten from a positive value up."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(
        (step * power for step in (1, 2, 5) if value <= step * power * 1.000001), 10 * power
    )


def number_text(value: float, ticks: list[float]) -> str:
    """Return a number with as many digits as tell the ticks apart."""
    step = ticks[1] - ticks[0]
    digits = max(-math.floor(math.log10(step) + 1e-9), 0)
    return f'{value:.{digits}f}' if digits <= 6 and abs(value) < 1e7 else f'{value:.3g}'
