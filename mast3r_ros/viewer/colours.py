# SPDX-License-Identifier: Apache-2.0
"""Numbers as colours that everybody can tell apart, also in print and with any colour vision."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.views import ImageArray

DEPTH = cv2.COLORMAP_VIRIDIS
CONFIDENCE = cv2.COLORMAP_CIVIDIS

_NOTHING = (58, 58, 62)  # RGB of a pixel without a value
_SAMPLE = 20_000  # values that tell the ends of a scale well enough
_STOPS = 9  # colours from which a browser draws the scale


def coloured(values: NDArray[Any], low: float, high: float, colour_map: int) -> ImageArray:
    """Return RGB (..., 3): ``low`` and less is the map's dark end, NaN a grey of its own."""
    flat = np.asarray(values, np.float32).reshape(-1)
    known = np.isfinite(flat)
    place = (np.where(known, flat, low) - low) / max(high - low, 1e-9)
    steps = (np.clip(place, 0.0, 1.0) * 255).astype(np.uint8)
    found: Any = cv2.applyColorMap(steps[:, None], colour_map)[:, 0, ::-1].copy()
    found[~known] = _NOTHING
    return np.asarray(found, np.uint8).reshape(*np.shape(values), 3)


def css_gradient(colour_map: int) -> str:
    """Return the map from its dark to its bright end as a CSS gradient."""
    places = np.linspace(0.0, 1.0, _STOPS, dtype=np.float32)
    stops = coloured(places, 0.0, 1.0, colour_map)
    words = ', '.join(f'rgb({r},{g},{b})' for r, g, b in stops.tolist())
    return f'linear-gradient(to right, {words})'


class SteadyRange:
    """The ends of a scale, which follow the values slowly so that colours do not flicker."""

    def __init__(self, low_share: float = 0.02, high_share: float = 0.98) -> None:
        self._shares = (low_share, high_share)
        self._ends: tuple[float, float] | None = None

    def follow(self, values: NDArray[Any]) -> tuple[float, float]:
        """Return the ends after a step towards those of the values; NaN is left out."""
        some = values.reshape(-1)[:: max(values.size // _SAMPLE, 1)]
        known = some[np.isfinite(some)]
        if known.size == 0:
            return self._ends or (0.0, 1.0)
        low, high = (float(end) for end in np.quantile(known, self._shares))
        if self._ends is not None:
            low, high = (0.8 * a + 0.2 * b for a, b in zip(self._ends, (low, high), strict=True))
        self._ends = (low, high)
        return self._ends
