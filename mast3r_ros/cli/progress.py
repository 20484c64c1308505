# SPDX-License-Identifier: Apache-2.0
"""A progress bar on a terminal, plain lines elsewhere, and sentences that keep out of its way."""

from __future__ import annotations

import re
import time
from typing import TextIO

_WIDTH = 30  # characters of the bar
_PERIOD_S = 0.1
_NUMBERS = re.compile(r'\d+')
_CLEAR_LINE = '\r\x1b[K'


class Progress:
    """One line that is drawn anew; where the stream is no terminal, a line now and then.

    :param name: what stands before every sentence.
    """

    def __init__(self, stream: TextIO, name: str) -> None:
        self._stream = stream
        self._name = name
        self._is_terminal = stream.isatty()
        self._drawn_at_s = 0.0
        self._told: tuple[str, int] | None = None
        self._line = ''

    def show(self, fraction: float, text: str) -> None:
        """Draw how far the work is, from 0 to 1, at most ten times a second.

        Where the stream is no terminal, print it at every new stage and every tenth of the way.
        """
        fraction = min(max(fraction, 0.0), 1.0)
        if not self._is_terminal:
            self._tell(fraction, text)
            return
        now_s = time.monotonic()
        if now_s - self._drawn_at_s < _PERIOD_S:
            return
        self._drawn_at_s = now_s
        done = round(_WIDTH * fraction)
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

    def _tell(self, fraction: float, text: str) -> None:
        # What a stage is called stays the same while the numbers in it grow.
        reached = (_NUMBERS.sub('', text), int(10 * fraction))
        if reached != self._told:
            self._told = reached
            print(f'{self._name}: {fraction:.0%} {text}', file=self._stream, flush=True)

    def _draw(self, line: str) -> None:
        if self._is_terminal and (line or self._line):
            self._stream.write(_CLEAR_LINE + line)
            self._stream.flush()
        self._line = line
