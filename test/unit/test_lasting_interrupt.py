# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C ends long work even where a library has swallowed it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from mast3r_ros.cli.lasting_interrupt import LastingInterrupt


def press() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    signal.getsignal(signal.SIGINT)  # a step of Python, at which the signal is delivered


def test_it_is_raised_at_once():
    with pytest.raises(KeyboardInterrupt), LastingInterrupt():
        press()


def test_one_that_was_swallowed_is_raised_at_the_next_check():
    with LastingInterrupt() as interrupt:
        interrupt.check()
        with suppress(KeyboardInterrupt):
            press()
        with pytest.raises(KeyboardInterrupt):
            interrupt.check()


def test_afterwards_signals_go_where_they_went_before():
    before = signal.getsignal(signal.SIGINT)
    with LastingInterrupt():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) is before
