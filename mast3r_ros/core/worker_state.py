# SPDX-License-Identifier: Apache-2.0
"""What an engine's thread is doing."""

from __future__ import annotations

import enum


class WorkerState(enum.Enum):
    """What the engine's thread is doing."""

    NEW = 'new'
    LOADING = 'loading'
    READY = 'ready'
    FAILED = 'failed'
    """The engine could not be built; ``error`` says why."""
    DEAD = 'dead'
    """A call hung and could not be cancelled. That is for good, even if it returns late."""
    CLOSED = 'closed'


GONE = (WorkerState.FAILED, WorkerState.DEAD, WorkerState.CLOSED)
"""States in which no engine is to be had any more."""
