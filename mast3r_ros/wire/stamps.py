# SPDX-License-Identifier: Apache-2.0
"""Time stamps: whole nanoseconds here, seconds and nanoseconds in messages."""

from __future__ import annotations

from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.message_fields import MessageFields
from mast3r_ros.wire.raw_fields import whole_number

_NS_PER_S = 1_000_000_000
_INT32_MAX = 2**31 - 1


def stamp_ns(stamp: object) -> int:
    """Return a ``builtin_interfaces/Time``, or anything with its fields, in nanoseconds."""
    seconds = whole_number(stamp, 'sec', _INT32_MAX)
    return seconds * _NS_PER_S + whole_number(stamp, 'nanosec', _NS_PER_S - 1)


def time_fields(time_ns: int) -> MessageFields:
    """Return the ``builtin_interfaces/Time`` of a time in nanoseconds."""
    seconds, nanoseconds = divmod(int(time_ns), _NS_PER_S)
    if not 0 <= seconds <= _INT32_MAX:
        raise InvalidInput(
            f'a stamp of {seconds} s does not fit into a message; allowed are 0 to {_INT32_MAX} s'
        )
    return MessageFields('builtin_interfaces/msg/Time', {'sec': seconds, 'nanosec': nanoseconds})


def header_fields(time_ns: int, frame_id: str) -> MessageFields:
    """Return a ``std_msgs/Header``."""
    return MessageFields(
        'std_msgs/msg/Header', {'stamp': time_fields(time_ns), 'frame_id': frame_id}
    )
