# SPDX-License-Identifier: Apache-2.0
"""What the library logs becomes a node's log: on the console, in the file and on /rosout."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LIBRARY = 'mast3r_ros'


class _Forwarder(logging.Handler):
    """Hands records to a ROS logger, which takes another kind of severity."""

    def __init__(self, target: Any) -> None:
        super().__init__()
        self._target = target

    def emit(self, record: logging.LogRecord) -> None:
        """Log one record; the words are made here, because ROS knows no arguments."""
        try:
            # One line of code a severity: rclpy refuses to let a line change its own.
            text = self.format(record)
            if record.levelno >= logging.ERROR:
                self._target.error(text)
            elif record.levelno >= logging.WARNING:
                self._target.warning(text)
            else:
                self._target.info(text)
        except Exception:
            self.handleError(record)


@contextmanager
def logs_forwarded(target: Any) -> Iterator[None]:
    """Let everything that the library logs, from information on, go to a ROS logger.

    :param target: what a node's ``get_logger`` returns.
    """
    library = logging.getLogger(_LIBRARY)
    forwarder, level = _Forwarder(target), library.level
    library.addHandler(forwarder)
    library.setLevel(logging.INFO)
    try:
        yield
    finally:
        library.removeHandler(forwarder)
        library.setLevel(level)
