# SPDX-License-Identifier: Apache-2.0
"""The progress bar: on a terminal, lines elsewhere, and never in the way of a sentence."""

from __future__ import annotations

import io

from mast3r_ros.cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_on_a_terminal_a_bar_shows_how_far_it_is():
    terminal = Terminal()
    Progress(terminal, 'tool').show(0.5, '12 pairs')
    assert '50% 12 pairs' in terminal.getvalue()
    assert '#.' in terminal.getvalue()


def test_elsewhere_every_tenth_of_the_way_is_a_line():
    stream = io.StringIO()
    progress = Progress(stream, 'tool')
    for number in range(1000):
        progress.show(number / 1000, f'{number} pairs')
    progress.say('careful')
    progress.close()
    lines = stream.getvalue().splitlines()
    assert lines[:2] == ['tool: 0% 0 pairs', 'tool: 10% 100 pairs']
    assert len(lines) == 11
    assert lines[-1] == 'tool: careful'


def test_elsewhere_every_stage_is_a_line_too():
    stream = io.StringIO()
    progress = Progress(stream, 'tool')
    for fraction, text in ((0.0, 'reading'), (0.01, 'reading'), (0.02, 'writing'), (1.5, 'end')):
        progress.show(fraction, text)
    assert stream.getvalue() == 'tool: 0% reading\ntool: 2% writing\ntool: 100% end\n'


def test_a_sentence_gets_a_line_of_its_own_and_the_bar_comes_back():
    terminal = Terminal()
    progress = Progress(terminal, 'tool')
    progress.show(0.25, 'work')
    progress.say('careful')
    lines = terminal.getvalue().replace('\x1b[K', '').split('\r')
    assert lines[-2] == 'tool: careful\n'
    assert lines[-1].endswith('work')


def test_the_bar_is_drawn_ten_times_a_second_at_most():
    terminal = Terminal()
    progress = Progress(terminal, 'tool')
    for number in range(100):
        progress.show(number / 100, 'work')
    assert terminal.getvalue().count('work') < 50


def test_nothing_is_left_of_the_bar():
    terminal = Terminal()
    progress = Progress(terminal, 'tool')
    progress.show(1.5, 'work')
    progress.close()
    assert terminal.getvalue().endswith('\r\x1b[K')
