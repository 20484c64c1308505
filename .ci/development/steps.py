# SPDX-License-Identifier: Apache-2.0
"""One step of a setup: a line with its duration for the reader, all its output for a log file."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

LAST_LINES = 25


class StepFailed(Exception):
    """A step of the setup went wrong; the text says which and shows the end of its output."""


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print a title, and how long what follows took."""
    print(f'  {title} ... ', end='', flush=True)
    started = time.monotonic()
    try:
        yield
    except BaseException:
        print(flush=True)
        raise
    print(f'{time.monotonic() - started:.1f} s', flush=True)


def logged(
    command: Sequence[object], log: Path, *, env: Mapping[str, str], cwd: Path | None = None
) -> None:
    """Run a command with its output in a log file; raise with the end of it where it fails."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('w', encoding='utf-8', errors='replace') as output:
        ended = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(env),
            cwd=cwd,
            check=False,
        )
    if ended.returncode:
        last = log.read_text(encoding='utf-8', errors='replace').splitlines()[-LAST_LINES:]
        raise StepFailed('\n'.join([*last, '', f'This failed; the whole output is in {log}.']))


def complain(sentence: str) -> None:
    """Print one sentence where errors go."""
    sys.stdout.flush()
    print(sentence, file=sys.stderr, flush=True)
