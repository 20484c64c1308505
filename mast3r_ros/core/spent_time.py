# SPDX-License-Identifier: Apache-2.0
"""Keeps how long the parts of an answer took."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timed(spent_ms: dict[str, float], part: str) -> Iterator[None]:
    """Add what the block takes to a part's milliseconds; a block that raises adds nothing."""
    start = time.perf_counter()
    yield
    spent_ms[part] = spent_ms.get(part, 0.0) + (time.perf_counter() - start) * 1e3
