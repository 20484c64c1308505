# SPDX-License-Identifier: Apache-2.0
"""A worker can be closed at any time, and neither a thread nor anybody waiting is left behind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.observed_worker import PATIENCE_S, Bench, Inbox, PlainEngine, threads_of

from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.errors import EngineCancelled, EngineFailed, EngineUnavailable


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


def test_closing_a_new_worker_builds_no_engine(bench: Bench) -> None:
    worker = bench.worker()
    assert worker.close() is True
    assert bench.engine is None
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


def test_no_thread_outlives_its_worker(bench: Bench) -> None:
    for _ in range(5):
        with bench.worker() as worker:
            worker.call(lambda engine: engine.use())
        for thread in threads_of(worker):
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
