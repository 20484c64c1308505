# SPDX-License-Identifier: Apache-2.0
"""Pairs made by message_filters, for ``pairing.sync: exact`` and ``approximate``.

Its synchronisers lock up for ever when a callback raises, lose frames once time jumps back and may
give an older pair after a newer one; what is around them here keeps all that from the node.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from builtin_interfaces.msg import Time
from std_msgs.msg import Header

from mast3r_ros.config import PairingConfig, PairingMode, SyncRule
from mast3r_ros.core.pairing import Pairing, make_pairing
from mast3r_ros.core.views import Frame
from mast3r_ros.errors import ConfigError


@dataclass(frozen=True, eq=False)
class _Stamped:
    """A frame as message_filters takes it: with a header."""

    frame: Frame
    header: Header


class FilterPairing(Pairing):
    """Lets a synchroniser of message_filters pair left (view 1) and right (view 2).

    :raises ConfigError: message_filters is not installed.
    """

    sources = ('left', 'right')

    def __init__(self, config: PairingConfig) -> None:
        super().__init__()
        self._library = _message_filters(config.sync)
        self._is_exact = config.sync is SyncRule.EXACT
        self._tolerance_ns = 0 if self._is_exact else round(config.tolerance_s * 1e9)
        self._waiting_limit = config.waiting_limit
        self._start()

    def add(self, source: str, frame: Frame) -> list[tuple[Frame, Frame]]:
        """Take a frame in; a stamp that jumps back empties both sides first."""
        self._check_source(source)
        last_ns = self._last_ns.get(source)
        if frame.stamp_ns == last_ns:
            self.drops['duplicate_stamp'] += 1
            return []
        if last_ns is not None and frame.stamp_ns < last_ns:
            self.reset('time_jump')
        self._last_ns[source] = frame.stamp_ns
        waited = self._waiting()
        self._inputs[source].signalMessage(_stamped(frame))
        complete, self._complete = self._complete, []
        lost = waited + 1 - 2 * len(complete) - self._waiting()
        if lost:
            self.drops['no_partner'] += lost
        if not complete:
            self._note_miss(source, frame.stamp_ns)
        return [pair for pair in complete if self._is_newer(pair)]

    def finish(self) -> list[tuple[Frame, Frame]]:
        """Count the frames that wait; every pair was given out when it was complete."""
        waiting = self._waiting()
        if waiting:
            self.drops['no_partner'] += waiting
        self._start()
        return []

    def reset(self, reason: str = 'reset') -> None:
        """Forget the frames that wait on both sides."""
        waiting = self._waiting()
        if waiting:
            self.drops[reason] += waiting
        self.resets += 1
        self._start()

    def _start(self) -> None:
        """Make a synchroniser that knows nothing yet."""
        self._last_ns: dict[str, int] = {}
        self._given_ns = (-1, -1)  # stamps of the latest pair
        self._complete: list[tuple[Frame, Frame]] = []
        self._inputs = {source: self._library.SimpleFilter() for source in self.sources}
        filters = list(self._inputs.values())
        if self._is_exact:
            self._synchroniser = self._library.TimeSynchronizer(filters, self._waiting_limit)
        else:
            # It asks for less than the slop and we for at most the tolerance, 0 included: one
            # nanosecond more, and half of one against rounding, makes the two the same.
            self._synchroniser = self._library.ApproximateTimeSynchronizer(
                filters, self._waiting_limit, (self._tolerance_ns + 1.5) / 1e9
            )
        self._synchroniser.registerCallback(self._keep)

    def _keep(self, left: _Stamped, right: _Stamped) -> None:
        """Take a pair; the synchroniser's lock is held, so nothing here may raise or wait."""
        self._complete.append((left.frame, right.frame))

    def _waiting(self) -> int:
        return sum(len(queue) for queue in self._synchroniser.queues)

    def _is_newer(self, pair: tuple[Frame, Frame]) -> bool:
        """Whether both frames are newer than the latest pair's; else they are counted."""
        stamps_ns = (pair[0].stamp_ns, pair[1].stamp_ns)
        if any(now <= before for now, before in zip(stamps_ns, self._given_ns, strict=True)):
            self.drops['out_of_order'] += 2
            return False
        self._given_ns = stamps_ns
        return True

    def _note_miss(self, source: str, stamp_ns: int) -> None:
        other = self._synchroniser.queues[1 - self.sources.index(source)]
        gap_ns = min((abs(waiting_ns - stamp_ns) for waiting_ns in other), default=0)
        if gap_ns > self._tolerance_ns:
            self.closest_miss_ns = min(gap_ns, self.closest_miss_ns or gap_ns)


def make_node_pairing(config: PairingConfig) -> Pairing:
    """Return the pairing that the settings ask for.

    :raises ConfigError: they leave it to message_filters, and that is not installed.
    """
    if config.mode is PairingMode.STEREO and config.sync is not SyncRule.NEAREST:
        return FilterPairing(config)
    return make_pairing(config)


def _stamped(frame: Frame) -> _Stamped:
    seconds, nanoseconds = divmod(frame.stamp_ns, 10**9)
    return _Stamped(frame, Header(stamp=Time(sec=seconds, nanosec=nanoseconds)))


def _message_filters(sync: SyncRule) -> Any:
    try:
        return import_module('message_filters')
    except ImportError as error:
        distribution = os.environ.get('ROS_DISTRO', '<distro>')
        sentence = (
            f'pairing.sync is {sync.value}, which needs message_filters ({error}): install '
            f'ros-{distribution}-message-filters, or set pairing.sync to nearest'
        )
        raise ConfigError([('pairing.sync', sentence)]) from error
