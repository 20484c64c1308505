# SPDX-License-Identifier: Apache-2.0
"""A progress bar on a terminal, and sentences that do not get into its way."""

from __future__ import annotations

import time
from typing import TextIO

_WIDTH = 30  # characters of the bar
_PERIOD_S = 0.1
_CLEAR_LINE = '\r\x1b[K'


class Progress:
    """One line that is drawn anew; nothing where the stream is no terminal.

    :param name: what stands before every sentence.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._is_terminal = stream.isatty()
        self._drawn_at_s = 0.0
        self._line = ''

    def show(self, fraction: float, text: str) -> None:
        """Draw how far the work is, from 0 to 1, at most ten times a second."""
        now_s = time.monotonic()
        if not self._is_terminal or now_s - self._drawn_at_s < _PERIOD_S:
            return
        self._drawn_at_s = now_s
        done = round(_WIDTH * min(max(fraction, 0.0), 1.0))
        bar = '#' * done + '.' * (_WIDTH - done)
        self._draw(f'[{bar}] {fraction:4.0%} {text}')

    def say(self, sentence: str) -> None:
        """Print a sentence on a line of its own."""
        line = self._line
        self._draw('')
        print(f'{self._name}: {sentence}', file=self._stream, flush=True)
        self._draw(line)

    def close(self) -> None:
        """Take the bar away."""
        self._draw('')

    def _draw(self, line: str) -> None:
        if self._is_terminal and (line or self._line):
            self._stream.write(_CLEAR_LINE + line)
            self._stream.flush()
        self._line = line
