# SPDX-License-Identifier: Apache-2.0
"""Memory of the card and of this process while pairs pass: it must stand still."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import numpy as np

_SETTLE = 0.1  # of the pairs come before memory is held against itself
_MOST_GROWTH_MB = 24.0
_PAGE_BYTES = 4096


class MemoryWatch:
    """Looks at memory after every pair.

    :param device: what the engine runs on, as it says; on a processor there is no card to watch.
    """

    def __init__(self, device: str) -> None:
        self._card = None if device.startswith('cpu') else _card_reader()
        self._looks: list[tuple[float, float]] = []

    def __enter__(self) -> MemoryWatch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is to be given back."""

    def look(self, _number: int) -> None:
        """Note what is in use, in MB."""
        card = self._card() / 1e6 if self._card is not None else float('nan')
        self._looks.append((card, _process_bytes() / 1e6))

    def peak_mb(self) -> tuple[float | None, float | None]:
        """Return the most that the card and the process had in use; None where it is unknown."""
        if not self._looks:
            return None, None
        card, process = (float(np.max(each)) for each in np.array(self._looks).T)
        return (None if np.isnan(card) else card), process

    def growth(self) -> list[str]:
        """Return, in words, what grew from the first settled tenth to the last."""
        settled = np.array(self._looks[int(len(self._looks) * _SETTLE) :])
        part = len(settled) // 10
        if part < 1:
            return []
        grown = np.median(settled[-part:], axis=0) - np.median(settled[:part], axis=0)
        return [
            f'memory of the {what} grew by {by:.0f} MB over {len(settled)} pairs'
            for what, by in zip(('card', 'process'), grown, strict=True)
            if by > _MOST_GROWTH_MB
        ]


def _card_reader() -> Callable[[], int] | None:
    """Return what tells the bytes in use on the card, by whatever library is here."""
    try:
        from cuda.bindings import runtime

        runtime.cudaMemGetInfo  # noqa: B018 - a module without it is of no use here
    except (ImportError, AttributeError):
        return _torch_reader()

    def used() -> int:
        status, free, total = runtime.cudaMemGetInfo()
        return int(total - free) if int(status) == 0 else 0

    return used


def _torch_reader() -> Callable[[], int] | None:
    try:
        import torch
    except ImportError:
        return None

    def used() -> int:
        free, total = torch.cuda.mem_get_info()
        return int(total - free)

    return used if torch.cuda.is_available() else None


def _process_bytes() -> int:
    statm = Path('/proc/self/statm')
    return int(statm.read_text().split()[1]) * _PAGE_BYTES if statm.exists() else 0
