# SPDX-License-Identifier: Apache-2.0
"""The one line of a library's error that says what is wrong."""

from __future__ import annotations


def first_line(error: BaseException) -> str:
    """Return what an error says first."""
    return _lines(error)[0]


def last_line(error: BaseException) -> str:
    """Return what an error says in the end, where places in a library's own files come before."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    lines = [line.strip() for line in str(error).splitlines()]
    return [line for line in lines if line] or [type(error).__name__]
