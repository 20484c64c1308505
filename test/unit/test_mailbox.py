# SPDX-License-Identifier: Apache-2.0
"""A mailbox keeps the newest or everything, as it is told, and counts what it loses."""

from __future__ import annotations

import threading

import pytest

from mast3r_ros.core.mailbox import Mailbox, MailboxFull
from mast3r_ros.errors import Mast3rError


def taken(box: Mailbox[int]) -> list[int]:
    """Take out everything that is in a box."""
    items = []
    while (found := box.take()) is not None:
        items.append(found[0])
    return items


def test_a_full_mailbox_keeps_the_newest_and_counts_the_superseded() -> None:
    box: Mailbox[int] = Mailbox()
    for item in range(5):
        box.put(item)
    assert taken(box) == [4]
    assert box.drops == {'superseded': 4}


def test_a_bigger_mailbox_keeps_the_newest_few_in_order() -> None:
    box: Mailbox[int] = Mailbox(limit=3)
    for item in range(5):
        box.put(item)
    assert len(box) == 3
    assert taken(box) == [2, 3, 4]
    assert box.drops == {'superseded': 2}


def test_a_mailbox_that_keeps_all_refuses_what_has_no_room_and_keeps_the_rest() -> None:
    box: Mailbox[int] = Mailbox(limit=2, keep_all=True)
    box.put(0)
    box.put(1)
    with pytest.raises(MailboxFull, match='holds 2 pairs'):
        box.put(2)
    assert taken(box) == [0, 1]
    assert issubclass(MailboxFull, Mast3rError)


def test_an_empty_mailbox_gives_none() -> None:
    assert Mailbox().take() is None


def test_what_is_taken_tells_how_long_it_waited() -> None:
    box: Mailbox[int] = Mailbox()
    box.put(0)
    found = box.take()
    assert found is not None
    assert found[1] >= 0.0


def test_clearing_returns_what_was_there_and_counts_it_under_its_reason() -> None:
    box: Mailbox[int] = Mailbox(limit=3)
    box.put(0)
    box.put(1)
    assert box.clear('reset') == [0, 1]
    assert len(box) == 0
    assert box.clear('reset') == []
    assert box.drops == {'reset': 2}


def test_each_put_is_told_outside_the_lock() -> None:
    seen = []
    box: Mailbox[int] = Mailbox(limit=2, on_put=lambda: seen.append(len(taken(box))))
    box.put(0)
    box.put(1)
    assert seen == [1, 1]


def test_puts_from_many_threads_lose_nothing_uncounted() -> None:
    box: Mailbox[int] = Mailbox(limit=4)
    received: list[int] = []

    def work() -> None:
        for item in range(500):
            box.put(item)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        received += taken(box)
    received += taken(box)
    assert len(received) + box.drops['superseded'] == 2000


def test_of_several_items_each_that_finds_a_place_is_left_and_the_others_are_counted():
    box = Mailbox(limit=2, keep_all=True)
    with pytest.raises(MailboxFull):
        box.put_all('abcd')
    assert [box.take()[0], box.take()[0]] == ['a', 'b']
    assert box.drops == {'overflow': 2}
