# SPDX-License-Identifier: Apache-2.0
"""A worker starts once and tells its states; an engine that cannot be built fails all who wait."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.observed_worker import PATIENCE_S, Bench, Inbox, PlainEngine, threads_of

from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.errors import EngineFailed, EngineUnavailable


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


def test_calls_made_before_the_start_are_answered_after_it(bench: Bench) -> None:
    worker = bench.worker()
    inbox = Inbox(worker)
    inbox.box.put('early')
    worker.start()
    inbox.wait(handled=1)
    assert inbox.handled == ['early']


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


def test_a_worker_starts_once(bench: Bench) -> None:
    worker = bench.worker().start()
    with pytest.raises(EngineFailed, match='make a new one'):
        worker.start()
    worker.close()
    with pytest.raises(EngineFailed, match='the worker is closed'):
        worker.start()
    assert worker.state is WorkerState.CLOSED


def test_no_thread_outlives_an_engine_that_cannot_be_built(bench: Bench) -> None:
    def build() -> EngineInterface:
        raise EngineUnavailable('no driver')

    worker = bench.worker_of(build).start()
    for thread in threads_of(worker):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
