# SPDX-License-Identifier: Apache-2.0
"""Single frames become pairs: left and right by nearest stamp, or a frame and an earlier one.

Every frame that ends up in no pair is counted with its reason. The outcome depends on the order of
arrival and the stamps alone, never on the clock.
"""

from __future__ import annotations

import abc
from collections import Counter, deque
from dataclasses import dataclass

from mast3r_ros.config import PairingConfig, PairingMode, SyncRule
from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.views import Frame, View
from mast3r_ros.errors import ConfigError, InvalidInput

PERIODS_REMEMBERED = 32


@dataclass(frozen=True, eq=False)
class ViewPair:
    """Two frames to be answered together; everything made of them carries view 1's stamp.

    :param T_2_1: takes points of camera 1 into camera 2, where it is known.
    """

    frame_1: Frame
    frame_2: Frame
    T_2_1: Matrix | None = None

    @property
    def view_1(self) -> View:
        """The view that results lie on."""
        return self.frame_1.view()

    @property
    def view_2(self) -> View:
        """The other view."""
        return self.frame_2.view()


class Pairing(abc.ABC):
    """Turns frames into pairs.

    ``drops`` counts, by reason, the frames that went into no pair; ``resets`` how often it forgot.
    """

    sources: tuple[str, ...]
    """Names that :meth:`add` takes."""

    def __init__(self) -> None:
        self.drops: Counter[str] = Counter()
        self.resets = 0
        self.closest_miss_ns: int | None = None  # how near two frames came that were too far apart

    @abc.abstractmethod
    def add(self, source: str, frame: Frame) -> list[tuple[Frame, Frame]]:
        """Take a frame in and return the pairs (frame 1, frame 2) that are complete now."""

    @abc.abstractmethod
    def finish(self) -> list[tuple[Frame, Frame]]:
        """Return the pairs of what waits when no frame is to come; count what has no partner."""

    @abc.abstractmethod
    def reset(self, reason: str = 'reset') -> None:
        """Forget every waiting frame."""

    def _check_source(self, source: str) -> None:
        if source not in self.sources:
            raise InvalidInput(
                f'{source!r} is no source of this pairing; known are {", ".join(self.sources)}'
            )


class SequencePairing(Pairing):
    """Pairs each frame (view 1) with the one ``stride`` frames before it (view 2)."""

    sources = ('image',)

    def __init__(self, stride: int = 1) -> None:
        super().__init__()
        self._stride = stride
        self._frames: deque[Frame] = deque(maxlen=stride + 1)
        self._taken = 0  # frames since the last reset

    def add(self, source: str, frame: Frame) -> list[tuple[Frame, Frame]]:
        """Take the next frame in; a stamp that jumps back starts afresh."""
        self._check_source(source)
        if self._frames and frame.stamp_ns == self._frames[-1].stamp_ns:
            self.drops['duplicate_stamp'] += 1
            return []
        if self._frames and frame.stamp_ns < self._frames[-1].stamp_ns:
            self.reset('time_jump')
        self._frames.append(frame)
        self._taken += 1
        if self._taken <= self._stride:
            return []
        return [(frame, self._frames[0])]

    def finish(self) -> list[tuple[Frame, Frame]]:
        """Count the frames that are in no pair; every pair was given out already."""
        self._forget('no_partner')
        return []

    def reset(self, reason: str = 'reset') -> None:
        """Forget the earlier frames."""
        self._forget(reason)
        self.resets += 1

    def _forget(self, reason: str) -> None:
        self._frames.clear()
        pairs = max(0, self._taken - self._stride)
        unpaired = self._taken - min(2 * pairs, self._taken)
        if unpaired:
            self.drops[reason] += unpaired
        self._taken = 0


class _Side:
    """The frames of one camera that wait for their partner."""

    def __init__(self) -> None:
        self.waiting: deque[Frame] = deque()
        self.last_ns: int | None = None
        self._periods_ns: deque[int] = deque(maxlen=PERIODS_REMEMBERED)

    def push(self, frame: Frame) -> None:
        if self.last_ns is not None:
            self._periods_ns.append(frame.stamp_ns - self.last_ns)
        self.last_ns = frame.stamp_ns
        self.waiting.append(frame)

    def smallest_gap_to_come(self, stamp_ns: int) -> int:
        """Return how near to a stamp the next frame of this side may still come.

        Cameras jitter, so only three quarters of the shortest period of late are counted on.
        """
        if self.last_ns is None:
            return 0
        earliest_ns = self.last_ns + max(1, 3 * min(self._periods_ns, default=0) // 4)
        return max(0, earliest_ns - stamp_ns)

    def largest_gap_ns(self) -> int | None:
        """Return how far a partner may be: beyond, it belongs to another frame of this side."""
        if not self._periods_ns:
            return None
        return 3 * sorted(self._periods_ns)[len(self._periods_ns) // 2] // 4

    def clear(self) -> None:
        self.waiting.clear()
        self.last_ns = None
        self._periods_ns.clear()


class StereoPairing(Pairing):
    """Pairs left (view 1) and right (view 2) by nearest stamp within a tolerance.

    A pair is given out as soon as no frame still to come can be nearer to either of its two, so
    that a dropped frame costs its own pair and never shifts the following ones. Frames that lie
    three quarters of a usual period apart are of two exposures, whatever the tolerance.

    :param tolerance_s: largest difference of the two stamps; 0 asks for equal ones.
    :param waiting_limit: frames of one side that may wait for their partner; the oldest goes
        first.
    """

    sources = ('left', 'right')

    def __init__(self, tolerance_s: float = 0.01, waiting_limit: int = 16) -> None:
        super().__init__()
        self._waiting_limit = waiting_limit
        self._tolerance_ns = round(tolerance_s * 1e9)
        self._left = _Side()
        self._right = _Side()

    def add(self, source: str, frame: Frame) -> list[tuple[Frame, Frame]]:
        """Take a frame in; a stamp that jumps back empties both sides first."""
        self._check_source(source)
        side = self._left if source == 'left' else self._right
        if side.last_ns is not None and frame.stamp_ns == side.last_ns:
            self.drops['duplicate_stamp'] += 1
            return []
        if side.last_ns is not None and frame.stamp_ns < side.last_ns:
            self.reset('time_jump')
        side.push(frame)
        if len(side.waiting) > self._waiting_limit:
            side.waiting.popleft()
            self.drops['no_partner'] += 1
        return self._take_complete()

    def finish(self) -> list[tuple[Frame, Frame]]:
        """Give out the pairs that waited for what could have been nearer."""
        pairs = self._take_complete(is_over=True)
        for side in (self._left, self._right):
            if side.waiting:
                self.drops['no_partner'] += len(side.waiting)
            side.waiting.clear()
        return pairs

    def reset(self, reason: str = 'reset') -> None:
        """Forget the frames that wait on both sides."""
        waiting = len(self._left.waiting) + len(self._right.waiting)
        if waiting:
            self.drops[reason] += waiting
        self.resets += 1
        self._left.clear()
        self._right.clear()

    def _take_complete(self, *, is_over: bool = False) -> list[tuple[Frame, Frame]]:
        pairs = []
        while self._left.waiting and self._right.waiting:
            largest_gap_ns = self._largest_gap_ns()
            self._drop_without_partner(largest_gap_ns)
            pair = self._nearest_certain(largest_gap_ns, is_over)
            if pair is None:
                break
            pairs.append(pair)
            self._forget_until(*pair)
        return pairs

    def _largest_gap_ns(self) -> int:
        limits = [side.largest_gap_ns() for side in (self._left, self._right)]
        return min([self._tolerance_ns, *(limit for limit in limits if limit is not None)])

    def _drop_without_partner(self, largest_gap_ns: int) -> None:
        """Drop the oldest frames that nothing waiting or to come can be near enough to."""
        for side, other in ((self._left, self._right), (self._right, self._left)):
            while side.waiting and other.waiting:
                gap_ns = other.waiting[0].stamp_ns - side.waiting[0].stamp_ns
                if gap_ns <= largest_gap_ns:
                    break
                if gap_ns > self._tolerance_ns:
                    self.closest_miss_ns = min(gap_ns, self.closest_miss_ns or gap_ns)
                side.waiting.popleft()
                self.drops['no_partner'] += 1

    def _nearest_certain(self, largest_gap_ns: int, is_over: bool) -> tuple[Frame, Frame] | None:
        """Return the oldest pair of mutually nearest frames that nothing to come can better."""
        if not self._right.waiting:
            return None
        for left in self._left.waiting:
            right = min(self._right.waiting, key=lambda frame: abs(frame.stamp_ns - left.stamp_ns))
            gap_ns = abs(left.stamp_ns - right.stamp_ns)
            if gap_ns > largest_gap_ns or not self._is_nearest_left(left, right):
                continue
            if not is_over and self._could_be_bettered(gap_ns, left, right):
                return None
            return left, right
        return None

    def _is_nearest_left(self, left: Frame, right: Frame) -> bool:
        gaps = [abs(frame.stamp_ns - right.stamp_ns) for frame in self._left.waiting]
        return min(gaps) == abs(left.stamp_ns - right.stamp_ns)

    def _could_be_bettered(self, gap_ns: int, left: Frame, right: Frame) -> bool:
        return (
            self._left.smallest_gap_to_come(right.stamp_ns) < gap_ns
            or self._right.smallest_gap_to_come(left.stamp_ns) < gap_ns
        )

    def _forget_until(self, left: Frame, right: Frame) -> None:
        """Remove a pair, and count what was passed over on its way."""
        for side, frame in ((self._left, left), (self._right, right)):
            while side.waiting.popleft() is not frame:
                self.drops['no_partner'] += 1


def make_pairing(config: PairingConfig) -> Pairing:
    """Return the pairing that the settings ask for.

    :raises ConfigError: they leave it to message_filters, which only the node can.
    """
    if config.mode is PairingMode.SEQUENCE:
        return SequencePairing(config.stride)
    if config.sync is not SyncRule.NEAREST:
        sentence = (
            f'pairing.sync is {config.sync.value}, which only the running node can do; set it to '
            'nearest here (with pairing.tolerance_s 0 for equal stamps)'
        )
        raise ConfigError([('pairing.sync', sentence)])
    return StereoPairing(config.tolerance_s, config.waiting_limit)
