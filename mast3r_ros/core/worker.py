# SPDX-License-Identifier: Apache-2.0
"""The one thread that builds, uses and closes an engine, for any number of users in turn."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from mast3r_ros.config import RuntimeConfig
from mast3r_ros.core.desks import Desk, Desks
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.feature_cache import FeatureCache
from mast3r_ros.core.mailbox import Mailbox
from mast3r_ros.core.watchdog import Watchdog
from mast3r_ros.core.worker_state import GONE, WorkerState
from mast3r_ros.errors import EngineFailed

_log = logging.getLogger(__name__)

ItemT = TypeVar('ItemT')
ResultT = TypeVar('ResultT')

ENGINE_THREAD = 'engine'
"""Name of every worker's thread."""

QUEUED_CALLS = 1024
"""Calls that may wait at once; more than any sane program has."""


@dataclass(frozen=True)
class _Call:
    function: Callable[[EngineInterface], Any]
    future: Future[Any]


class EngineWorker:
    """Owns an engine and the only thread that touches it.

    :param factory: builds the engine; runs in the worker's thread.
    :param call_timeout_s: a handler that runs longer is cancelled through the engine.
    :param cancel_grace_s: time a cancelled call has to return before the engine is given up.
    :param features_memory_mb: memory for what the engine has encoded, for all its users.
    :param on_state: called with each new state, from the thread that caused it.
    """

    def __init__(
        self,
        factory: Callable[[], EngineInterface],
        *,
        call_timeout_s: float = 30.0,
        cancel_grace_s: float = 2.0,
        features_memory_mb: float = RuntimeConfig().features_memory_mb,
        on_state: Callable[[WorkerState], None] | None = None,
    ) -> None:
        self.state = WorkerState.NEW
        self.error: Exception | None = None
        self.features = FeatureCache(features_memory_mb * 1e6)
        self._factory = factory
        self._call_timeout_s = call_timeout_s
        self._on_state = on_state
        self._engine: EngineInterface | None = None
        self._changed = threading.Condition()
        self._desks = Desks()
        self._closing = False
        self._running: tuple[Desk[Any], Any] | None = None
        self._thread = threading.Thread(target=self._run, name=ENGINE_THREAD, daemon=True)
        self._watchdog = Watchdog(
            self._changed,
            limit_s=call_timeout_s,
            grace_s=cancel_grace_s,
            is_over=self._finished,
            cancel=self._cancel,
            give_up=self._die,
        )
        self._calls: Mailbox[_Call] = self.open_mailbox(
            self._answer_call, self._fail_call, limit=QUEUED_CALLS, keep_all=True
        )

    @property
    def instead_of(self) -> str | None:
        """Why the engine runs in place of the one that was asked for; None where it does not."""
        return None if self._engine is None else self._engine.instead_of

    def start(self) -> EngineWorker:
        """Begin to build the engine, in the background."""
        if self.state is not WorkerState.NEW:
            raise EngineFailed(f'the worker is {self.state.value}; make a new one to start')
        self._set_state(WorkerState.LOADING)
        self._thread.start()
        self._watchdog.thread.start()
        return self

    def open_mailbox(
        self,
        handle: Callable[[EngineInterface, ItemT, float], None],
        on_error: Callable[[ItemT, Exception], None],
        *,
        limit: int = 1,
        keep_all: bool = False,
    ) -> Mailbox[ItemT]:
        """Become a user: whatever is put into the returned box is handled in the engine's thread.

        :param handle: called with the engine, the item and the milliseconds it waited.
        :param on_error: called with an item whose handling raised or that no engine is left for.
        """
        box: Mailbox[ItemT] = Mailbox(limit=limit, keep_all=keep_all, on_put=self._wake)
        self._desks.add(Desk(box, handle, on_error))
        return box

    def close_mailbox(self, box: Mailbox[Any]) -> None:
        """Stop being a user; what still waits is thrown away."""
        self._desks.remove(box)
        box.clear('closed')

    def call(
        self, function: Callable[[EngineInterface], ResultT], timeout_s: float | None = None
    ) -> ResultT:
        """Run ``function(engine)`` in the engine's thread and return what it returns."""
        if threading.current_thread() is self._thread and self._engine is not None:
            return function(self._engine)
        future: Future[ResultT] = Future()
        self._calls.put(_Call(function, future))
        try:
            return future.result(timeout_s)
        finally:
            future.cancel()  # where time ran out: nobody waits for the answer any more

    def wait_ready(self, timeout_s: float | None = None) -> bool:
        """Wait for the engine; False when time runs out, an error when it cannot be had."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.state not in (WorkerState.NEW, WorkerState.LOADING), timeout_s
            )
        if self.state in GONE:
            raise self._gone_error()
        return self.state is WorkerState.READY

    def close(self, timeout_s: float = 5.0) -> bool:
        """Cancel what runs, close the engine, end the thread; False if it does not end in time."""
        with self._changed:
            self._closing = True
            is_busy = self._watchdog.is_busy
            self._changed.notify_all()
        if is_busy:
            self._cancel()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        ended = not self._thread.is_alive()
        if ended and self.state is not WorkerState.CLOSED:
            self._set_state(WorkerState.CLOSED)
        self._refuse_waiting()
        return ended

    def __enter__(self) -> EngineWorker:
        return self.start() if self.state is WorkerState.NEW else self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _run(self) -> None:
        try:
            self._engine = self._factory()
        except BaseException as error:  # a library's SystemExit too, or it would load for ever
            self.error = _as_exception(error)
            self._set_state(WorkerState.FAILED)
            self._refuse_waiting()
            return
        self._set_state(WorkerState.READY)
        while self._serve_next():
            pass
        self._close_engine()
        self._set_state(WorkerState.CLOSED)

    def _close_engine(self) -> None:
        engine, self._engine = self._engine, None
        assert engine is not None
        try:
            self.features.clear()
            if engine.successor is not None:
                engine.successor.stop()
            engine.close()
        except BaseException:
            _log.exception('closing the engine failed')

    def _follow_successor(self) -> None:
        """Hand over to the engine that was made while another one served, if it is ready."""
        successor = None if self._engine is None else self._engine.successor
        ready = None if successor is None else successor.take()
        if ready is not None:
            self._close_engine()
            self._engine = ready
            _log.info('%s serves from now on', ready.describe().name)

    def _serve_next(self) -> bool:
        """Handle one item of the next user whose turn it is; False when it is time to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing or self._desks.anything_waits())
            if self._closing or self._is_dead():
                return False
        self._follow_successor()
        taken = self._desks.take_next()
        if taken is not None:
            self._handle(*taken)
        return not self._is_dead()

    def _is_dead(self) -> bool:
        return self.state is WorkerState.DEAD

    def _handle(self, desk: Desk[ItemT], item: ItemT, waited_ms: float) -> None:
        assert self._engine is not None
        self._running = (desk, item)
        self._watchdog.begin()
        problem: Exception | None = None
        try:
            desk.handle(self._engine, item, waited_ms)
        except BaseException as error:  # whatever it is, the thread is needed for the next item
            problem = _as_exception(error)
        with self._watchdog.ending():
            given_up = self.state is WorkerState.DEAD  # then the item was reported already
            self._running = None
        if problem is not None and not given_up:
            desk.report(item, problem)

    def _cancel(self) -> None:
        """Make the running call raise; nothing where the engine is gone by now."""
        engine = self._engine
        try:
            if engine is not None:
                engine.cancel()
        except Exception:
            _log.exception('cancelling the running call failed')

    def _finished(self) -> bool:
        return self.state in GONE or (self._closing and not self._thread.is_alive())

    def _die(self) -> Callable[[], None]:
        """Give the engine up, lock held, and return what says so."""
        self.error = EngineFailed(
            f'an engine call did not return within {self._call_timeout_s:g} s and could not be '
            'cancelled; restart the process, or raise runtime.call_timeout_s if it is just slow'
        )
        self.state = WorkerState.DEAD
        self._changed.notify_all()
        return partial(self._report_death, self._running)

    def _report_death(self, running: tuple[Desk[Any], Any] | None) -> None:
        self._tell_state(WorkerState.DEAD)
        if running is not None:
            desk, item = running
            desk.report(item, self._gone_error())
        self._refuse_waiting()

    def _answer_call(self, engine: EngineInterface, call: _Call, _waited_ms: float) -> None:
        if call.future.set_running_or_notify_cancel():
            call.future.set_result(call.function(engine))

    def _fail_call(self, call: _Call, error: Exception) -> None:
        if not call.future.cancelled():
            call.future.set_exception(error)

    def _wake(self) -> None:
        if self._closing or self.state in GONE:
            self._refuse_waiting()
            return
        with self._changed:
            self._changed.notify_all()

    def _refuse_waiting(self) -> None:
        """Hand everything that still waits back to its owner with the reason."""
        self._desks.refuse_all(self._gone_error())

    def _gone_error(self) -> Exception:
        return self.error or EngineFailed('the engine is closed; make a new one')

    def _set_state(self, state: WorkerState) -> None:
        with self._changed:
            if self._is_dead():
                return
            self.state = state
            self._changed.notify_all()
        self._tell_state(state)

    def _tell_state(self, state: WorkerState) -> None:
        if self._on_state is not None:
            try:
                self._on_state(state)
            except Exception:
                _log.exception('telling that the engine is %s failed', state.value)


def _as_exception(error: BaseException) -> Exception:
    """Return what may be handed to a caller without ending its thread."""
    return error if isinstance(error, Exception) else EngineFailed(f'the engine raised {error!r}')
