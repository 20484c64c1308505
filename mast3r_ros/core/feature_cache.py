# SPDX-License-Identifier: Apache-2.0
"""Encoded views that later pairs may need again, so that each is encoded once."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.engine import EngineInterface, Features
from mast3r_ros.core.views import Picture, View

_Place = tuple[int, bool]  # id of the picture, and whether it is encoded for tracking


@dataclass(frozen=True)
class _Entry:
    picture: weakref.ref[Picture]
    camera: Camera | None
    features: Features


class FeatureCache:
    """Keeps features of views that still exist: those used last, as long as there is room.

    A picture is known by what it is, never by what it looks like; with the last view of it its
    features go. For the engine's thread, but for :meth:`hold`.

    :param limit_bytes: memory that features may take; 0 keeps none.
    """

    def __init__(self, limit_bytes: float) -> None:
        self._limit_bytes = limit_bytes
        # By last use. A picture may end in any thread: nothing loops over the dict itself.
        self._kept: dict[_Place, _Entry] = {}
        self._held: weakref.WeakKeyDictionary[object, weakref.ref[Picture]]
        self._held = weakref.WeakKeyDictionary()
        self._holding = threading.Lock()
        self._engine: EngineInterface | None = None

    @property
    def held_bytes(self) -> int:
        """Memory that the kept features take."""
        return sum(entry.features.nbytes for entry in list(self._kept.values()))

    def get(
        self, engine: EngineInterface, view: View, *, for_tracking: bool = False
    ) -> Features | None:
        """Return the features of this very view, if this very engine made them."""
        self._follow(engine)
        entry = self._kept.get((id(view.picture), for_tracking))
        if entry is None or entry.picture() is not view.picture:
            return None
        if entry.camera is view.camera:
            return entry.features
        return entry.features.seen_through(view.camera)

    def keep(
        self,
        engine: EngineInterface,
        views: Sequence[View],
        features: Sequence[Features],
        *,
        for_tracking: bool = False,
    ) -> None:
        """Remember features; where there are too many, those go that were used longest ago."""
        self._follow(engine)
        for view, item in zip(views, features, strict=True):
            place = id(view.picture), for_tracking
            self._kept.pop(place, None)
            self._kept[place] = _Entry(self._watched(view.picture), view.camera, item)
        self._make_room()

    def hold(self, owner: object, view: View) -> None:
        """Keep this view's features whatever else needs room, while it and its owner exist.

        An owner holds one view at a time.
        """
        with self._holding:
            self._held[owner] = weakref.ref(view.picture)

    def clear(self) -> None:
        """Release everything."""
        for place in list(self._kept):
            self._release(place)

    def _watched(self, picture: Picture) -> weakref.ref[Picture]:
        """Return a reference to a picture, whose features go when it goes."""
        places = (id(picture), False), (id(picture), True)

        def forget(_: weakref.ref[Picture]) -> None:
            for place in places:
                self._release(place)

        return weakref.ref(picture, forget)

    def _make_room(self) -> None:
        with self._holding:
            held = {id(picture()) for picture in self._held.values()}
        spent_bytes = self.held_bytes
        for place, entry in list(self._kept.items()):  # longest ago first
            is_pinned = place[0] in held and self._limit_bytes > 0
            if spent_bytes > self._limit_bytes and not is_pinned:
                spent_bytes -= entry.features.nbytes
                self._release(place)

    def _release(self, place: _Place) -> None:
        entry = self._kept.pop(place, None)
        if entry is not None:
            entry.features.release()

    def _follow(self, engine: EngineInterface) -> None:
        if engine is not self._engine:
            self.clear()
            self._engine = engine
