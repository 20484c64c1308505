# SPDX-License-Identifier: Apache-2.0
"""A worker whose engine and states a test can see, and users that collect what they get."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Callable
from typing import Any

from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.results import EngineInfo, Output
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.errors import EngineCancelled

PATIENCE_S = 20.0  # how long a test waits for what must come; never measured against


class PlainEngine(EngineInterface):
    """Remembers which thread did what to it; a call can be made to hang."""

    provides = Output(0)

    def __init__(self, obeys_cancel: bool = True) -> None:
        self.built_in = threading.get_ident()
        self.used_in: set[int] = set()
        self.closed_in: list[int] = []
        self.hanging = threading.Event()
        self.cancels = 0
        self._obeys_cancel = obeys_cancel
        self._cancel = threading.Event()

    def hang(self, until: threading.Event) -> str:
        """Return when ``until`` is set; raise when cancelled, if it obeys."""
        self.hanging.set()
        while not until.wait(0.002):
            if self._obeys_cancel and self._cancel.is_set():
                self._cancel.clear()
                raise EngineCancelled('cancelled on request')
        return 'returned late'

    def use(self) -> None:
        self.used_in.add(threading.get_ident())

    def cancel(self) -> None:
        self.cancels += 1
        self._cancel.set()

    def close(self) -> None:
        self.closed_in.append(threading.get_ident())

    def prepare(self, view: Any) -> Any:
        raise NotImplementedError

    encode = decode = prepare

    def describe(self) -> EngineInfo:
        return EngineInfo('plain', 'cpu', 'fp32', {})


class Bench:
    """Workers with their engine in the open; all are closed at its end."""

    def __init__(self) -> None:
        self.until = threading.Event()  # lets hanging calls return
        self.states: list[WorkerState] = []
        self.workers: list[EngineWorker] = []

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: object) -> None:
        self.until.set()
        for worker in self.workers:
            worker.close(PATIENCE_S)

    def worker(self, obeys_cancel: bool = True, **options: Any) -> EngineWorker:
        self.engine: PlainEngine | None = None

        def build() -> EngineInterface:
            self.engine = PlainEngine(obeys_cancel)
            return self.engine

        return self.worker_of(build, **options)

    def worker_of(self, factory: Callable[[], EngineInterface], **options: Any) -> EngineWorker:
        worker = EngineWorker(factory, on_state=self.states.append, **options)
        self.workers.append(worker)
        return worker

    def hang(self, engine: EngineInterface) -> str:
        assert isinstance(engine, PlainEngine)
        return engine.hang(self.until)

    def in_background(self, worker: EngineWorker) -> concurrent.futures.Future[str]:
        """Make a call that hangs, from a thread of its own; return when it hangs."""
        future: concurrent.futures.Future[str] = concurrent.futures.Future()

        def ask() -> None:
            try:
                future.set_result(worker.call(self.hang))
            except Exception as error:
                future.set_exception(error)

        threading.Thread(target=ask, daemon=True).start()
        assert worker.wait_ready(PATIENCE_S)
        assert self.engine is not None
        assert self.engine.hanging.wait(PATIENCE_S)
        return future


class Inbox:
    """One user of a worker: collects what was handled and what failed."""

    def __init__(self, worker: EngineWorker, **options: Any) -> None:
        self.handled: list[Any] = []
        self.failed: list[tuple[Any, Exception]] = []
        self.changed = threading.Condition()
        self.box = worker.open_mailbox(self.handle, self.on_error, **options)

    def handle(self, engine: EngineInterface, item: Any, waited_ms: float) -> None:
        if isinstance(item, Exception):
            raise item
        if callable(item):
            item(engine)
        with self.changed:
            self.handled.append(item)
            self.changed.notify_all()

    def on_error(self, item: Any, error: Exception) -> None:
        with self.changed:
            self.failed.append((item, error))
            self.changed.notify_all()

    def wait(self, handled: int = 0, failed: int = 0) -> None:
        with self.changed:
            assert self.changed.wait_for(
                lambda: len(self.handled) >= handled and len(self.failed) >= failed, PATIENCE_S
            )


def threads_of(worker: EngineWorker) -> list[threading.Thread]:
    return [worker._thread, worker._watchdog.thread]
