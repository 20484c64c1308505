# SPDX-License-Identifier: Apache-2.0
"""Messages without ROS, by rosbags: the standard types and this package's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mast3r_ros.errors import InvalidInput, Mast3rError
from mast3r_ros.wire.message_fields import MessageFields, make_by_constructor

PACKAGE = Path(__file__).parents[1]


class MessageTypes:
    """Turns serialised messages into objects with their fields, and packed fields into bytes.

    :raises Mast3rError: rosbags, or the definitions of this package's messages, are missing.
    """

    def __init__(self) -> None:
        try:
            from rosbags.typesys import Stores, get_types_from_msg, get_typestore
        except ImportError as error:
            raise Mast3rError(
                "bags need the library rosbags; install it with `pip install 'mast3r_ros[replay]'`"
            ) from error
        self.store: Any = get_typestore(Stores.ROS2_JAZZY)
        for path in sorted(definitions_folder().glob('*.msg')):
            name = f'mast3r_ros/msg/{path.stem}'
            self.store.register(get_types_from_msg(path.read_text(encoding='utf-8'), name))

    def read(self, data: bytes, type_name: str) -> Any:
        """Return the message that the bytes hold.

        :raises InvalidInput: they hold no such message.
        """
        try:
            return self.store.deserialize_cdr(data, type_name)
        except Exception as error:  # broken bytes can break it anywhere
            raise InvalidInput(
                f'{len(data)} bytes cannot be read as {type_name}: {error!r}; '
                'the recording is damaged there'
            ) from error

    def write(self, fields: MessageFields) -> memoryview:
        """Return the message's bytes."""
        message = make_by_constructor(fields, self.store.types.__getitem__)
        found: memoryview = self.store.serialize_cdr(message, fields.type_name)
        return found


def definitions_folder() -> Path:
    """Return the folder of this package's .msg files: of a wheel, of a ROS build, of the sources.

    :raises Mast3rError: it is in none of these places.
    """
    prefixes = (parent / 'share' / 'mast3r_ros' for parent in PACKAGE.parents)
    sources = Path(__file__).resolve().parents[2]
    for place in (PACKAGE / '_share', *prefixes, sources):
        if (place / 'msg' / 'MatchArray.msg').is_file():
            return place / 'msg'
    raise Mast3rError(
        f'the message definitions that belong to {PACKAGE} are missing; install the package again'
    )
