# SPDX-License-Identifier: Apache-2.0
"""The statistics of every pair as a table: one row a pair, one column a field of PairStats."""

from __future__ import annotations

import csv
import math
from pathlib import Path
from types import TracebackType

from mast3r_ros.wire.message_fields import MessageFields

_APART = ('header', 'drop_reasons', 'drop_counts')  # fields that are no single value


class StatsTable:
    """Writes a CSV file with a row for each pair; a context manager."""

    def __init__(self, path: Path) -> None:
        self._file = path.open('w', encoding='utf-8', newline='')
        self._rows = csv.writer(self._file, lineterminator='\n')
        self._has_head = False

    def write(self, stamp_ns: int, stats: MessageFields, notes: tuple[str, ...]) -> None:
        """Add the row of a pair.

        :param stats: the fields of its ``mast3r_ros/PairStats``.
        :param notes: what the engine had to say.
        """
        plain = {name: value for name, value in stats.values.items() if name not in _APART}
        if not self._has_head:
            self._rows.writerow(['stamp_ns', *plain, 'drops', 'notes'])
            self._has_head = True
        drops = zip(stats['drop_reasons'], stats['drop_counts'], strict=True)
        listed = '; '.join(f'{reason} {count}' for reason, count in drops)
        values = (_cell(value) for value in plain.values())
        self._rows.writerow([stamp_ns, *values, listed, '; '.join(notes)])

    def close(self) -> None:
        """Finish the file."""
        self._file.close()

    def __enter__(self) -> StatsTable:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _cell(value: object) -> object:
    """Return a number as the message holds it, in float32, and nothing for an unknown one."""
    if not isinstance(value, float):
        return value
    return '' if math.isnan(value) else f'{value:.7g}'
