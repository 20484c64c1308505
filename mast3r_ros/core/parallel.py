# SPDX-License-Identifier: Apache-2.0
"""Work shared out over a few threads; it pays where NumPy or OpenCV works without the GIL."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from mast3r_ros.core.cores import usable_cores

FirstT = TypeVar('FirstT')
SecondT = TypeVar('SecondT')
ItemT = TypeVar('ItemT')
ResultT = TypeVar('ResultT')

_MOST_THREADS = 4


def thread_count() -> int:
    """Return how many threads work is shared out over: the cores this process may use, up to 4."""
    return min(usable_cores(), _MOST_THREADS)


def parallel_map(job: Callable[[ItemT], ResultT], items: Iterable[ItemT]) -> list[ResultT]:
    """Return ``job`` of every item, in order; the first error is raised."""
    items = list(items)
    threads = min(thread_count(), len(items))
    if threads < 2:
        return [job(item) for item in items]
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(job, items))


def both(
    first: Callable[[], FirstT], second: Callable[[], SecondT], *, most_threads: int = 2
) -> tuple[FirstT, SecondT]:
    """Return the answers of two jobs, done at the same time where there are cores for it.

    Both end before an error is raised, that of the first if both fail.

    :param most_threads: with 1 they are done one after the other whatever cores there are.
    """
    if min(thread_count(), most_threads) < 2:
        return first(), second()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(second)
        return first(), waiting.result()
