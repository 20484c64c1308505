# SPDX-License-Identifier: Apache-2.0
"""Who may look, what is said, and who waits: the view's server, words and flow."""

from __future__ import annotations

import threading

import pytest

from mast3r_ros.errors import InvalidInput
from mast3r_ros.viewer.flow import Flow
from mast3r_ros.viewer.parts import Sentence, StatsPart
from mast3r_ros.viewer.server import (
    address_of,
    check_address,
    is_loopback,
    may_connect,
    open_server,
)
from mast3r_ros.viewer.words import MOST_SENTENCES, Situation, headline, sentences, unit_of


@pytest.mark.parametrize('host', ['127.0.0.1', '127.0.0.5', '::1', 'localhost'])
def test_loopback_is_known(host):
    assert is_loopback(host)


@pytest.mark.parametrize('host', ['0.0.0.0', '192.168.1.2', 'robot', '::'])
def test_what_the_network_reaches_is_known(host):
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ('origin', 'allowed'),
    [
        (None, True),  # no browser
        ('http://127.0.0.1:8080', True),
        ('http://localhost:9000', True),  # through a tunnel
        ('http://[::1]:8080', True),
        ('https://example.org', False),
        ('http://127.0.0.1.example.org', False),
        ('null', False),
        ('file://', False),
    ],
)
def test_pages_of_elsewhere_cannot_read_a_view_on_loopback(origin, allowed):
    assert may_connect('127.0.0.1', origin) is allowed


def test_a_view_shown_to_the_network_is_shown_to_all_of_it():
    assert may_connect('0.0.0.0', 'http://robot:8080')


@pytest.mark.parametrize(
    ('host', 'port', 'word'),
    [
        ('203.0.113.7', 8080, 'nothing can listen'),
        ('no such name', 8080, 'nothing can listen'),
        ('127.0.0.1', 0, 'port is 0'),
        ('127.0.0.1', 65535, 'port is 65535'),
    ],
)
def test_an_address_that_cannot_be_had_is_said_at_once(host, port, word):
    with pytest.raises(InvalidInput, match=word):
        check_address(host, port)


def test_a_port_in_use_is_passed_over_and_sharing_leads_nowhere():
    pytest.importorskip('viser', reason='needs viser')
    first = open_server(port=18431)
    second = open_server(port=18431)
    try:
        assert address_of(first) != address_of(second)
        assert address_of(first).startswith('http://127.0.0.1:')
        assert first.request_share_url() is None
    finally:
        first.stop()
        second.stop()


def test_a_page_of_elsewhere_is_refused_and_one_of_here_is_let_in():
    pytest.importorskip('viser', reason='needs viser')
    from websockets.exceptions import InvalidStatus
    from websockets.sync.client import connect

    server = open_server(port=18441)
    address = address_of(server).replace('http', 'ws')
    try:
        with pytest.raises(InvalidStatus, match='403'):
            connect(address, origin='https://example.org', subprotocols=['viser-v0'])
        connect(address, origin='http://localhost:1', subprotocols=['viser-v0']).close()
    finally:
        server.stop()


def test_what_comes_from_messages_is_shown_as_text_never_as_a_page():
    evil = '<script>alert(1)</script>'
    stats = StatsPart(0, evil, evil, scale_source=evil)
    assert '<script' not in headline(Situation('live', evil, stats=stats))
    assert '<script' not in sentences([Sentence(2, evil)])


def test_the_worst_is_said_first_and_a_flood_is_cut():
    found = [Sentence(0, f'fine {n}') for n in range(20)] + [Sentence(2, 'it is broken')]
    shown = sentences(found)
    assert shown.index('it is broken') < shown.index('fine 0')
    assert shown.count('border-left') == MOST_SENTENCES
    assert len(sentences([Sentence(1, 'x' * 10_000)])) < 1000


def test_lengths_without_a_unit_are_not_called_metres():
    assert unit_of('none') != unit_of('model') == unit_of('stereo_baseline') == ' m'


def test_a_running_view_shows_everything():
    flow = Flow()
    assert all(flow.take_turn() for _ in range(3))


def test_a_paused_view_shows_as_many_pairs_as_it_was_stepped():
    flow = Flow()
    flow.toggle()
    assert not flow.take_turn()
    flow.step()
    flow.step()
    assert [flow.take_turn() for _ in range(3)] == [True, True, False]
    flow.toggle()
    assert flow.take_turn()


def test_a_step_pauses_a_running_view():
    flow = Flow()
    flow.step()
    assert flow.paused
    assert [flow.take_turn() for _ in range(2)] == [True, False]


def test_who_waits_goes_on_with_a_step_and_leaves_when_the_view_ends():
    flow = Flow()
    flow.toggle()
    turns = []
    waiting = threading.Thread(
        target=lambda: turns.extend([flow.wait_for_turn(), flow.wait_for_turn()])
    )
    waiting.start()
    flow.step()
    while not turns and waiting.is_alive() and flow._steps:
        waiting.join(0.01)
    flow.end()
    waiting.join(10)
    assert turns == [True, False]
