# SPDX-License-Identifier: Apache-2.0
"""Which mask belongs to which image: by stamp, the latest, or one that never changes."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict
from collections.abc import Callable

from mast3r_ros.config import MaskPolicy
from mast3r_ros.core.views import MaskArray, as_mask
from mast3r_ros.errors import InvalidInput

KEPT = 16
"""Masks kept while they wait for their image, unless more images may wait."""

MakeMask = Callable[[], MaskArray]


class MaskStore:
    """The masks of one camera; filled by one thread, asked by another.

    :param fixed: a mask for every image; what comes in is ignored then.
    :param kept: masks that are kept while they wait for their image.
    """

    def __init__(
        self, policy: MaskPolicy, fixed: MaskArray | None = None, *, kept: int = KEPT
    ) -> None:
        self.policy = policy
        self._fixed = fixed
        self._kept = kept
        self._by_stamp: OrderedDict[int, MakeMask] = OrderedDict()
        self._seen_any = False
        self._counted: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def is_fixed(self) -> bool:
        """Whether one mask serves every image."""
        return self._fixed is not None

    @property
    def waits(self) -> bool:
        """Whether an image must wait for the mask of its stamp."""
        return self._fixed is None and self.policy is MaskPolicy.REQUIRED

    @property
    def counted(self) -> dict[str, int]:
        """How many images had no mask of their own or one that cannot be used, by reason."""
        with self._lock:
            return dict(self._counted)

    def put(self, stamp_ns: int, make: MakeMask) -> None:
        """Take a mask in; it is decoded only if an image needs it."""
        with self._lock:
            self._seen_any = True
            self._by_stamp[stamp_ns] = make
            self._by_stamp.move_to_end(stamp_ns)
            while len(self._by_stamp) > self._kept:
                self._by_stamp.popitem(last=False)

    def has(self, stamp_ns: int) -> bool:
        """Whether the mask of that very stamp is here."""
        with self._lock:
            return stamp_ns in self._by_stamp

    def mask_for(self, stamp_ns: int, width: int, height: int) -> MaskArray | None:
        """Return the mask of an image of that size, decoded; None where it may do without.

        :raises InvalidInput: the mask cannot be used, or is missing where one is required.
        """
        make = self._take(stamp_ns)
        if make is None:
            if self.waits:
                self._count('mask_missing')
                raise InvalidInput(
                    'the mask of this image is gone, and mask_policy is required; publish masks '
                    'with the stamp of their image, soon after it'
                )
            return None
        try:
            return as_mask(make(), width, height)
        except InvalidInput:
            self._count('mask_invalid')
            raise

    def clear(self) -> None:
        """Forget every mask."""
        with self._lock:
            self._by_stamp.clear()
            self._seen_any = False

    def _take(self, stamp_ns: int) -> MakeMask | None:
        fixed = self._fixed
        if fixed is not None:
            return lambda: fixed
        with self._lock:
            if self.policy is MaskPolicy.LATEST:
                return next(reversed(self._by_stamp.values()), None)
            make = self._by_stamp.pop(stamp_ns, None)
            if make is None and self._seen_any and self.policy is MaskPolicy.EXACT:
                self._counted['mask_late'] += 1
            return make

    def _count(self, reason: str) -> None:
        with self._lock:
            self._counted[reason] += 1
