# SPDX-License-Identifier: Apache-2.0
"""The progress bar: on a terminal only, and never in the way of a sentence."""

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


def test_elsewhere_there_is_no_bar():
    stream = io.StringIO()
    progress = Progress(stream, 'tool')
    progress.show(0.5, '12 pairs')
    progress.say('careful')
    progress.close()
    assert stream.getvalue() == 'tool: careful\n'


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
