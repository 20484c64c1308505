# SPDX-License-Identifier: Apache-2.0
"""Calls run in the one thread that owns the engine, and each caller gets what its call gives."""

from __future__ import annotations

import concurrent.futures
import threading
from collections.abc import Iterator

import pytest
from support.observed_worker import PATIENCE_S, Bench, Inbox

from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.errors import EngineFailed


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


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


def test_a_call_that_raises_what_ends_a_thread_costs_no_more_than_itself(bench: Bench) -> None:
    def leave(engine: EngineInterface) -> None:
        raise SystemExit(3)

    with bench.worker() as worker:
        with pytest.raises(EngineFailed, match=r'SystemExit\(3\)'):
            worker.call(leave, PATIENCE_S)
        assert worker.call(lambda engine: 'next', PATIENCE_S) == 'next'
