# SPDX-License-Identifier: Apache-2.0
"""The latest of an odometry, from which a frame takes what is nearest in time."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from dataclasses import dataclass, field

from mast3r_ros.core.cameras import Matrix

_KEPT = 2000
"""Messages: some seconds of an inertial unit, minutes of wheels."""
_GOES_BACK_NS = 10**9  # an older stamp than that is odd, or of a bag that starts over
_STARTS_OVER = 3  # so many odd ones in a row are another time


@dataclass(frozen=True, order=True)
class _Stamped:
    stamp_ns: int
    T_odometry_camera: Matrix = field(compare=False)


class RecentOdometry:
    """Keeps poses by their stamps; several threads may use it."""

    def __init__(self, most: int = _KEPT) -> None:
        self._most = most
        self._kept: list[_Stamped] = []
        self._older: list[_Stamped] = []  # in a row, that may be odd
        self._lock = threading.Lock()

    def add(self, stamp_ns: int, T_odometry_camera: Matrix) -> None:
        """Take in a pose; of one stamp the latest counts.

        A single stamp that goes far back is left out; several in a row begin anew.
        """
        item = _Stamped(stamp_ns, T_odometry_camera)
        with self._lock:
            if self._last_was_odd(item):
                self._kept.pop()
            if not self._goes_back(item):
                self._older.clear()
                self._insert(item)
                return
            self._older.append(item)
            if len(self._older) >= _STARTS_OVER:
                self._kept.clear()
                for older in self._older:
                    self._insert(older)
                self._older.clear()

    def nearest(self, stamp_ns: int, tolerance_ns: int) -> Matrix | None:
        """Return the pose whose stamp is nearest; None where none is near enough."""
        with self._lock:
            at = bisect_left(self._kept, stamp_ns, key=lambda item: item.stamp_ns)
            near = self._kept[max(0, at - 1) : at + 1]
        if not near:
            return None
        best = min(near, key=lambda item: abs(item.stamp_ns - stamp_ns))
        is_near = abs(best.stamp_ns - stamp_ns) <= tolerance_ns
        return best.T_odometry_camera if is_near else None

    def clear(self) -> None:
        """Forget all of it."""
        with self._lock:
            self._kept.clear()
            self._older.clear()

    def _goes_back(self, item: _Stamped) -> bool:
        return bool(self._kept) and item.stamp_ns < self._kept[-1].stamp_ns - _GOES_BACK_NS

    def _last_was_odd(self, item: _Stamped) -> bool:
        """Whether the latest stamp leapt ahead, and this one goes on where time was before."""
        if len(self._kept) < 2 or not self._goes_back(item):
            return False
        before_ns, leapt_ns = (kept.stamp_ns for kept in self._kept[-2:])
        return before_ns < item.stamp_ns and before_ns < leapt_ns - _GOES_BACK_NS

    def _insert(self, item: _Stamped) -> None:
        at = bisect_left(self._kept, item)
        if at < len(self._kept) and self._kept[at].stamp_ns == item.stamp_ns:
            self._kept[at] = item
        else:
            insort(self._kept, item)
        del self._kept[: -self._most]
