# SPDX-License-Identifier: Apache-2.0
"""A message before it has a class: its type's name and its fields, for any kind of message object.

rclpy makes empty messages and sets their attributes; rosbags' dataclasses want every field at once
and NumPy arrays. Whoever packs a message knows neither.
"""

from __future__ import annotations

import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

MessageT = TypeVar('MessageT')
ClassOf = Callable[[str], Any]
"""Returns the class of a message type's full name, as ``sensor_msgs/msg/Image``."""


@dataclass(frozen=True, eq=False)
class MessageFields:
    """Every field of one message.

    Lists of numbers of any length are ``array.array``, those of fixed length NumPy arrays;
    messages inside are :class:`MessageFields` again, or lists of them.
    """

    type_name: str
    values: Mapping[str, Any]

    def __getitem__(self, name: str) -> Any:
        return self.values[name]


def fill(message: MessageT, fields: MessageFields, class_of: ClassOf) -> MessageT:
    """Set every field of a message and return it.

    :param class_of: makes the messages inside that it lacks, and those of its lists.
    """
    for name, value in fields.values.items():
        inside = getattr(message, name, None)
        if isinstance(value, MessageFields) and inside is not None:
            fill(inside, value, class_of)
        else:
            setattr(message, name, _filled(value, class_of))
    return message


def make_by_attributes(fields: MessageFields, class_of: ClassOf) -> Any:
    """Return a new message of a class that starts empty, as rclpy's do."""
    return fill(class_of(fields.type_name)(), fields, class_of)


def make_by_constructor(fields: MessageFields, class_of: ClassOf) -> Any:
    """Return a new message of a class that is given all its fields at once, as rosbags' are.

    Arrays are shared, not copied: serialise the message before its buffers are released.
    """
    values = {name: _constructed(value, class_of) for name, value in fields.values.items()}
    return class_of(fields.type_name)(**values)


def float_array(values: NDArray[Any]) -> array.array[float]:
    """Return the values as the ``array.array('f')`` that a field float32[] holds."""
    return array.array('f', np.asarray(values, np.float32).tobytes())


def _filled(value: Any, class_of: ClassOf) -> Any:
    if isinstance(value, MessageFields):
        return make_by_attributes(value, class_of)
    if isinstance(value, list):
        return [_filled(item, class_of) for item in value]
    return value


def _constructed(value: Any, class_of: ClassOf) -> Any:
    if isinstance(value, MessageFields):
        return make_by_constructor(value, class_of)
    if isinstance(value, list):
        return [_constructed(item, class_of) for item in value]
    return np.asarray(value) if isinstance(value, array.array) else value
