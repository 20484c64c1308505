# SPDX-License-Identifier: Apache-2.0
"""What TensorRT says: into this program's log, its last error into the sentences of ours."""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger(__name__)

_LEVELS = {
    'INTERNAL_ERROR': logging.ERROR,
    'ERROR': logging.ERROR,
    'WARNING': logging.INFO,  # it warns of much that nobody can change
    'INFO': logging.DEBUG,
}


class TensorRtLog:
    """Hears TensorRT; it must live as long as anything of TensorRT does.

    :param library: the module ``tensorrt``.
    """

    def __init__(self, library: Any) -> None:
        self._last_error = ''
        self.listener = _listener(library, self)

    def explain(self, sentence: str) -> str:
        """Return the sentence with the error that TensorRT gave last, if it gave one."""
        said, self._last_error = self._last_error, ''
        return f'{sentence}: {said}' if said else sentence

    def hear(self, severity: str, text: str) -> None:
        """Note a message."""
        level = _LEVELS.get(severity, logging.NOTSET)
        if level >= logging.ERROR:
            self._last_error = text.strip().splitlines()[0] if text.strip() else severity
        if level:
            _log.log(level, 'TensorRT: %s', text)


def _listener(library: Any, log: TensorRtLog) -> Any:
    class Listener(library.ILogger):  # type: ignore[misc]  # known once the library is imported
        """Hands messages on."""

        def __init__(self) -> None:
            library.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            """Take a message of TensorRT."""
            log.hear(severity.name, msg)

    return Listener()
