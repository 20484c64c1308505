# SPDX-License-Identifier: Apache-2.0
"""Encoded views that the next pairs will need again, so that a frame is encoded once."""

from __future__ import annotations

from collections.abc import Sequence

from mast3r_ros.core.engine import EngineInterface, Features
from mast3r_ros.core.views import View


class FeatureCache:
    """Keeps the features of the latest views of one camera.

    :param capacity: views to keep; 0 keeps none, as stereo pairs never meet a view again.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._kept: dict[int, tuple[View, Features]] = {}
        self._engine: EngineInterface | None = None

    def get(self, engine: EngineInterface, view: View) -> Features | None:
        """Return the features of this very view, if this very engine made them."""
        self._follow(engine)
        kept = self._kept.get(id(view))
        return kept[1] if kept is not None and kept[0] is view else None

    def keep(
        self, engine: EngineInterface, views: Sequence[View], features: Sequence[Features]
    ) -> None:
        """Remember features; the newest of all stay, the others are released."""
        self._follow(engine)
        for view, item in zip(views, features, strict=True):
            self._kept[id(view)] = (view, item)
        by_age = sorted(self._kept, key=lambda key: self._kept[key][0].stamp_ns)
        for key in by_age[: max(0, len(by_age) - self._capacity)]:
            self._kept.pop(key)[1].release()

    def clear(self) -> None:
        """Release everything."""
        while self._kept:
            self._kept.popitem()[1][1].release()

    def _follow(self, engine: EngineInterface) -> None:
        if engine is not self._engine:
            self.clear()
            self._engine = engine
