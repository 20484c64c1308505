# SPDX-License-Identifier: Apache-2.0
"""A call that hangs is cancelled; one that ignores it leaves a dead engine and nobody waiting."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator

import pytest
from support.observed_worker import PATIENCE_S, Bench, Inbox, PlainEngine, threads_of

from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.errors import EngineCancelled, EngineFailed


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


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
