# SPDX-License-Identifier: Apache-2.0
"""Users who share an engine take turns, each with its own queue, and harm only themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.observed_worker import PATIENCE_S, Bench, Inbox

from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.mailbox import MailboxFull
from mast3r_ros.core.worker_state import WorkerState


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


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
