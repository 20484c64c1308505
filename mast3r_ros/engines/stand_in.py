# SPDX-License-Identifier: Apache-2.0
"""An engine that takes minutes to make is made in the background while another one serves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from mast3r_ros.core.engine import EngineInterface, Successor

_log = logging.getLogger(__name__)

Tell = Callable[[float, str], None]
"""Is told how far the work is, from 0 to 1, and what is being done."""

Make = Callable[[Tell, Callable[[], bool]], EngineInterface]
"""Makes an engine; tells how far it is and asks whether to stop."""


class BackgroundBuild(Successor):
    """Makes an engine in a thread of its own and says on the stand-in how far it is.

    :param stand_in: the engine that serves meanwhile; it says why, in ``instead_of``.
    :param what: is being made, in words.
    """

    def __init__(self, stand_in: EngineInterface, what: str, make: Make) -> None:
        self._stand_in = stand_in
        self._what = what
        self._make = make
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._ready: EngineInterface | None = None
        self._tell(0.0, 'begins')
        self.thread = threading.Thread(target=self._run, name='engine-build', daemon=True)
        self.thread.start()

    def take(self) -> EngineInterface | None:
        """Return the engine once it is ready; it belongs to the caller then."""
        with self._lock:
            ready, self._ready = self._ready, None
        return ready

    def stop(self) -> None:
        """Stop soon; an engine that comes too late is closed."""
        self._stopped.set()
        left = self.take()
        if left is not None:
            left.close()

    def _run(self) -> None:
        try:
            engine = self._make(self._tell, self._stopped.is_set)
        except BaseException as error:  # whatever it is, the stand-in goes on
            if not self._stopped.is_set():
                self._stand_in.instead_of = str(error)
                _log.warning('%s; the stand-in goes on', error)
            return
        with self._lock:
            if not self._stopped.is_set():
                self._ready = engine
                return
        engine.close()

    def _tell(self, fraction: float, what: str) -> None:
        self._stand_in.instead_of = f'{self._what} ({fraction:.0%}, {what})'
