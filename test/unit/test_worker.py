# SPDX-License-Identifier: Apache-2.0
"""One thread owns the engine; whatever goes wrong in it, nobody is left waiting."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.mailbox import MailboxFull
from mast3r_ros.core.results import EngineInfo, Output
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.errors import EngineCancelled, EngineFailed, EngineUnavailable

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
    """A worker with its engine in the open."""

    def __init__(self) -> None:
        self.until = threading.Event()  # lets hanging calls return
        self.states: list[WorkerState] = []
        self.workers: list[EngineWorker] = []

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


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.until.set()
    for worker in made.workers:
        worker.close(PATIENCE_S)


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


def test_the_engine_is_built_used_and_closed_in_one_and_the_same_thread(bench: Bench) -> None:
    worker = bench.worker().start()
    inbox = Inbox(worker)
    worker.call(lambda engine: engine.use())
    inbox.box.put(lambda engine: engine.use())
    inbox.wait(handled=1)
    assert worker.close()
    engine = bench.engine
    assert engine is not None
    assert engine.built_in != threading.get_ident()
    assert engine.used_in == {engine.built_in}
    assert engine.closed_in == [engine.built_in]


def test_a_call_returns_what_the_function_returns_and_raises_what_it_raises(bench: Bench) -> None:
    with bench.worker() as worker:
        assert worker.call(lambda engine: engine.describe().name) == 'plain'
        with pytest.raises(KeyError, match='lost'):
            worker.call(lambda engine: {}['lost'])
        assert worker.call(lambda engine: 7) == 7


def test_a_call_from_inside_the_engine_s_thread_runs_at_once(bench: Bench) -> None:
    with bench.worker() as worker:
        assert worker.call(lambda engine: worker.call(lambda inner: inner is engine)) is True


def test_calls_made_before_the_start_are_answered_after_it(bench: Bench) -> None:
    worker = bench.worker()
    inbox = Inbox(worker)
    inbox.box.put('early')
    worker.start()
    inbox.wait(handled=1)
    assert inbox.handled == ['early']


def test_a_call_that_nobody_waits_for_any_more_is_not_made(bench: Bench) -> None:
    worker = bench.worker().start()
    inbox = Inbox(worker)
    hung = bench.in_background(worker)
    made = []
    with pytest.raises(concurrent.futures.TimeoutError):
        worker.call(lambda engine: made.append(True), timeout_s=0.01)
    bench.until.set()
    assert hung.result(PATIENCE_S) == 'returned late'
    inbox.box.put('after')
    inbox.wait(handled=1)
    worker.call(lambda engine: None)
    assert not made


def test_a_user_s_slow_engine_sees_only_the_newest_pair(bench: Bench) -> None:
    worker = bench.worker().start()
    inbox = Inbox(worker)
    hung = bench.in_background(worker)
    for item in range(5):
        inbox.box.put(item)
    bench.until.set()
    hung.result(PATIENCE_S)
    inbox.wait(handled=1)
    assert inbox.handled == [4]
    assert inbox.box.drops == {'superseded': 4}


def test_a_user_that_keeps_all_gets_all_in_order_or_is_told_there_is_no_room(
    bench: Bench,
) -> None:
    worker = bench.worker().start()
    inbox = Inbox(worker, limit=3, keep_all=True)
    hung = bench.in_background(worker)
    for item in range(3):
        inbox.box.put(item)
    with pytest.raises(MailboxFull):
        inbox.box.put(3)
    bench.until.set()
    hung.result(PATIENCE_S)
    inbox.wait(handled=3)
    assert inbox.handled == [0, 1, 2]


def test_users_take_turns(bench: Bench) -> None:
    worker = bench.worker().start()
    order: list[str] = []
    users = [Inbox(worker, limit=10, keep_all=True) for _ in range(3)]
    hung = bench.in_background(worker)
    for _ in range(4):
        for name, user in zip('abc', users, strict=True):
            user.box.put(lambda engine, name=name: order.append(name))
    bench.until.set()
    hung.result(PATIENCE_S)
    for user in users:
        user.wait(handled=4)
    assert all(sorted(order[turn : turn + 3]) == ['a', 'b', 'c'] for turn in range(0, 12, 3))


def test_a_busy_user_does_not_starve_another(bench: Bench) -> None:
    worker = bench.worker().start()
    greedy, modest = Inbox(worker), Inbox(worker)
    order: list[str] = []

    def again(engine: EngineInterface) -> None:
        order.append('greedy')
        if len(order) < 50:
            greedy.box.put(again)

    hung = bench.in_background(worker)
    greedy.box.put(again)
    modest.box.put(lambda engine: order.append('modest'))
    bench.until.set()
    hung.result(PATIENCE_S)
    modest.wait(handled=1)
    assert order.index('modest') <= 1


def test_a_handler_that_raises_is_reported_and_the_next_item_served(bench: Bench) -> None:
    with bench.worker() as worker:
        inbox = Inbox(worker, limit=10, keep_all=True)
        problem = ValueError('bad pair')
        inbox.box.put(problem)
        inbox.box.put('good pair')
        inbox.wait(handled=1, failed=1)
        assert inbox.failed == [(problem, problem)]
        assert worker.state is WorkerState.READY


def test_an_error_handler_that_raises_ends_nothing(bench: Bench) -> None:
    with bench.worker() as worker:

        def fail(item: Any, error: Exception) -> None:
            raise RuntimeError('the reporter is broken too')

        box = worker.open_mailbox(Inbox.handle.__get__(Inbox(worker)), fail)
        box.put(ValueError('bad pair'))
        assert worker.call(lambda engine: 'still there') == 'still there'


def test_a_state_listener_that_raises_ends_nothing() -> None:
    def listen(state: WorkerState) -> None:
        raise RuntimeError(f'cannot stand {state}')

    with EngineWorker(PlainEngine, on_state=listen) as worker:
        assert worker.call(lambda engine: 'still there', PATIENCE_S) == 'still there'
    assert worker.state is WorkerState.CLOSED


def test_states_are_told_in_order(bench: Bench) -> None:
    worker = bench.worker()
    assert worker.state is WorkerState.NEW
    worker.start().wait_ready(PATIENCE_S)
    worker.close()
    assert bench.states == [WorkerState.LOADING, WorkerState.READY, WorkerState.CLOSED]


def test_waiting_for_an_engine_ends_when_time_runs_out(bench: Bench) -> None:
    def build() -> EngineInterface:
        bench.until.wait(PATIENCE_S)
        return PlainEngine()

    worker = bench.worker_of(build).start()
    assert worker.wait_ready(0.01) is False
    bench.until.set()
    assert worker.wait_ready(PATIENCE_S) is True


def test_an_engine_that_cannot_be_built_fails_everybody_with_its_own_reason(bench: Bench) -> None:
    def build() -> EngineInterface:
        bench.until.wait(PATIENCE_S)
        raise EngineUnavailable('no driver; install one')

    worker = bench.worker_of(build)
    inbox = Inbox(worker)
    inbox.box.put('waiting')
    worker.start()
    bench.until.set()
    with pytest.raises(EngineUnavailable, match='no driver'):
        worker.wait_ready(PATIENCE_S)
    inbox.wait(failed=1)
    assert worker.state is WorkerState.FAILED
    inbox.box.put('later')
    inbox.wait(failed=2)
    assert [item for item, _ in inbox.failed] == ['waiting', 'later']
    assert all(isinstance(error, EngineUnavailable) for _, error in inbox.failed)
    with pytest.raises(EngineUnavailable, match='no driver'):
        worker.call(lambda engine: None, PATIENCE_S)
    assert not inbox.box.drops  # they failed; the user that was told counts them


@pytest.mark.parametrize('error', [SystemExit(3), KeyboardInterrupt()])
def test_an_engine_that_ends_its_thread_while_it_is_built_has_failed(
    bench: Bench, error: BaseException
) -> None:
    def build() -> EngineInterface:
        raise error

    worker = bench.worker_of(build)
    inbox = Inbox(worker)
    inbox.box.put('waiting')
    worker.start()
    with pytest.raises(EngineFailed, match=type(error).__name__):
        worker.wait_ready(PATIENCE_S)
    inbox.wait(failed=1)
    assert worker.state is WorkerState.FAILED


def test_a_call_that_raises_what_ends_a_thread_costs_no_more_than_itself(bench: Bench) -> None:
    def leave(engine: EngineInterface) -> None:
        raise SystemExit(3)

    with bench.worker() as worker:
        with pytest.raises(EngineFailed, match=r'SystemExit\(3\)'):
            worker.call(leave, PATIENCE_S)
        assert worker.call(lambda engine: 'next', PATIENCE_S) == 'next'


def test_a_hanging_call_is_cancelled_and_the_engine_goes_on(bench: Bench) -> None:
    worker = bench.worker(call_timeout_s=0.05, cancel_grace_s=PATIENCE_S).start()
    hung = bench.in_background(worker)
    with pytest.raises(EngineCancelled, match='on request'):
        hung.result(PATIENCE_S)
    assert worker.call(lambda engine: 'next', PATIENCE_S) == 'next'
    assert worker.state is WorkerState.READY


def test_a_call_that_ignores_its_cancelling_makes_the_engine_dead_and_frees_all_who_wait(
    bench: Bench,
) -> None:
    worker = bench.worker(obeys_cancel=False, call_timeout_s=0.05, cancel_grace_s=0.05).start()
    inbox = Inbox(worker)
    hung = bench.in_background(worker)
    inbox.box.put('waiting')
    with pytest.raises(EngineFailed, match=r'did not return within 0\.05 s.*restart'):
        hung.result(PATIENCE_S)
    inbox.wait(failed=1)
    assert worker.state is WorkerState.DEAD
    inbox.box.put('later')
    inbox.wait(failed=2)
    with pytest.raises(EngineFailed, match='did not return'):
        worker.call(lambda engine: None, PATIENCE_S)
    with pytest.raises(EngineFailed, match='did not return'):
        worker.wait_ready(PATIENCE_S)


def test_the_item_a_dead_engine_hangs_on_is_reported_once(bench: Bench) -> None:
    worker = bench.worker(obeys_cancel=False, call_timeout_s=0.05, cancel_grace_s=0.05).start()
    inbox = Inbox(worker)

    def hang_and_fail(engine: EngineInterface) -> None:
        bench.hang(engine)
        raise ValueError('much too late')

    inbox.box.put(hang_and_fail)
    inbox.wait(failed=1)
    bench.until.set()
    assert worker.close(PATIENCE_S)
    assert [item for item, _ in inbox.failed] == [hang_and_fail]
    assert isinstance(inbox.failed[0][1], EngineFailed)


def test_a_dead_engine_that_returns_after_all_is_closed_in_its_own_thread(bench: Bench) -> None:
    worker = bench.worker(obeys_cancel=False, call_timeout_s=0.05, cancel_grace_s=0.05).start()
    hung = bench.in_background(worker)
    with pytest.raises(EngineFailed):
        hung.result(PATIENCE_S)
    assert worker.close(0.01) is False
    assert worker.state is WorkerState.DEAD
    bench.until.set()
    assert worker.close(PATIENCE_S) is True
    assert bench.engine is not None
    assert bench.engine.closed_in == [bench.engine.built_in]
    with pytest.raises(EngineFailed, match='did not return'):
        worker.call(lambda engine: None, PATIENCE_S)


def test_a_dead_engine_stays_dead_when_its_call_returns_late(bench: Bench) -> None:
    worker = bench.worker(obeys_cancel=False, call_timeout_s=0.05, cancel_grace_s=0.05).start()
    hung = bench.in_background(worker)
    with pytest.raises(EngineFailed):
        hung.result(PATIENCE_S)
    bench.until.set()
    for thread in threads_of(worker):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
    assert worker.state is WorkerState.DEAD
    assert worker.close(PATIENCE_S) is True
    assert worker.state is WorkerState.DEAD  # whoever shares it must not take it for well
    assert bench.states == [WorkerState.LOADING, WorkerState.READY, WorkerState.DEAD]


def test_a_call_that_returns_just_in_time_leaves_the_next_one_uncancelled(bench: Bench) -> None:
    """The watchdog writes to the log before it cancels; here that takes long."""
    worker = bench.worker(obeys_cancel=False, call_timeout_s=0.1, cancel_grace_s=PATIENCE_S)
    inbox = Inbox(worker, limit=2, keep_all=True)
    second_runs, second_may_end = threading.Event(), threading.Event()
    cancels: list[int] = []

    def second(engine: EngineInterface) -> None:
        second_runs.set()
        second_may_end.wait(PATIENCE_S)

    class Slow(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            assert bench.engine is not None
            cancels.append(bench.engine.cancels)
            if len(cancels) == 1:
                bench.until.set()
                second_runs.wait(PATIENCE_S)
            else:
                second_may_end.set()

    log, slow = logging.getLogger('mast3r_ros.core.watchdog'), Slow()
    log.addHandler(slow)
    try:
        inbox.box.put(bench.hang)
        inbox.box.put(second)
        worker.start()
        inbox.wait(handled=2)
    finally:
        log.removeHandler(slow)
    assert cancels == [0, 0]  # when the first, and when the second took too long


def test_an_engine_whose_cancelling_breaks_is_given_up_like_one_that_ignores_it() -> None:
    until = threading.Event()

    class Stubborn(PlainEngine):
        def cancel(self) -> None:
            raise RuntimeError('there is no cancelling this')

    worker = EngineWorker(lambda: Stubborn(False), call_timeout_s=0.05, cancel_grace_s=0.05)
    with worker:
        with pytest.raises(EngineFailed, match='did not return'):
            worker.call(lambda engine: engine.hang(until), PATIENCE_S)
        until.set()


def test_closing_a_new_worker_builds_no_engine(bench: Bench) -> None:
    worker = bench.worker()
    assert worker.close() is True
    assert bench.engine is None
    assert worker.state is WorkerState.CLOSED


def test_a_worker_starts_once(bench: Bench) -> None:
    worker = bench.worker().start()
    with pytest.raises(EngineFailed, match='make a new one'):
        worker.start()
    worker.close()
    with pytest.raises(EngineFailed, match='the worker is closed'):
        worker.start()
    assert worker.state is WorkerState.CLOSED


def test_closing_while_loading_closes_the_engine_once_it_is_there(bench: Bench) -> None:
    engines = []

    def build() -> EngineInterface:
        bench.until.wait(PATIENCE_S)
        engines.append(PlainEngine())
        return engines[0]

    worker = bench.worker_of(build).start()
    inbox = Inbox(worker)
    inbox.box.put('waiting')
    assert worker.close(0.01) is False
    inbox.wait(failed=1)
    inbox.box.put('while closing')
    inbox.wait(failed=2)
    bench.until.set()
    assert worker.close(PATIENCE_S) is True
    assert engines[0].closed_in == [engines[0].built_in]


def test_closing_while_busy_cancels_the_call(bench: Bench) -> None:
    worker = bench.worker().start()
    hung = bench.in_background(worker)
    assert worker.close(PATIENCE_S) is True
    with pytest.raises(EngineCancelled):
        hung.result(PATIENCE_S)
    assert worker.state is WorkerState.CLOSED


def test_closing_a_failed_worker_is_fine(bench: Bench) -> None:
    def build() -> EngineInterface:
        raise EngineUnavailable('no driver')

    worker = bench.worker_of(build).start()
    with pytest.raises(EngineUnavailable):
        worker.wait_ready(PATIENCE_S)
    assert worker.close(PATIENCE_S) is True
    assert worker.state is WorkerState.CLOSED


def test_closing_twice_is_the_same_as_once(bench: Bench) -> None:
    worker = bench.worker().start()
    worker.wait_ready(PATIENCE_S)
    assert worker.close(PATIENCE_S) is True
    assert worker.close(PATIENCE_S) is True
    assert bench.engine is not None
    assert len(bench.engine.closed_in) == 1
    assert bench.states.count(WorkerState.CLOSED) == 1


def test_closing_refuses_what_waits_and_what_comes_later(bench: Bench) -> None:
    worker = bench.worker(obeys_cancel=False).start()
    inbox = Inbox(worker)
    hung = bench.in_background(worker)
    inbox.box.put('waiting')
    assert worker.close(0.01) is False
    inbox.wait(failed=1)
    bench.until.set()
    hung.result(PATIENCE_S)
    assert worker.close(PATIENCE_S) is True
    inbox.box.put('later')
    inbox.wait(failed=2)
    assert all('closed' in str(error) for _, error in inbox.failed)
    with pytest.raises(EngineFailed, match='the engine is closed; make a new one'):
        worker.call(lambda engine: None, PATIENCE_S)


def test_a_handler_may_close_its_own_worker(bench: Bench) -> None:
    worker = bench.worker().start()
    inbox = Inbox(worker)
    inbox.box.put(lambda engine: worker.close())
    inbox.wait(handled=1)
    assert worker.close(PATIENCE_S) is True
    assert not inbox.failed


def test_an_engine_that_cannot_be_closed_ends_the_thread_all_the_same() -> None:
    class Sticky(PlainEngine):
        def close(self) -> None:
            raise RuntimeError('will not close')

    worker = EngineWorker(Sticky).start()
    worker.wait_ready(PATIENCE_S)
    assert worker.close(PATIENCE_S) is True
    assert worker.state is WorkerState.CLOSED


def test_a_user_that_left_gets_nothing_any_more(bench: Bench) -> None:
    worker = bench.worker().start()
    inbox, other = Inbox(worker), Inbox(worker)
    hung = bench.in_background(worker)
    inbox.box.put('waiting')
    worker.close_mailbox(inbox.box)
    bench.until.set()
    hung.result(PATIENCE_S)
    other.box.put('other')
    other.wait(handled=1)
    assert inbox.handled == []
    assert inbox.box.drops == {'closed': 1}


def test_no_thread_outlives_its_worker(bench: Bench) -> None:
    for _ in range(5):
        with bench.worker() as worker:
            worker.call(lambda engine: engine.use())
        for thread in threads_of(worker):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def test_no_thread_outlives_an_engine_that_cannot_be_built(bench: Bench) -> None:
    def build() -> EngineInterface:
        raise EngineUnavailable('no driver')

    worker = bench.worker_of(build).start()
    for thread in threads_of(worker):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
