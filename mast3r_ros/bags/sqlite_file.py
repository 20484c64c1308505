# SPDX-License-Identifier: Apache-2.0
"""Reads a rosbag2 SQLite file in the order of recording, whole or damaged, message by message."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Collection, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from mast3r_ros.bags.recorded import (
    FOREVER_NS,
    RecordedMessage,
    RecordedTopic,
    Tell,
    UnreadableBag,
)

_GIVE_UP_AFTER = 1000  # numbers without a message: the end of a file that does not tell its own


class SqliteFile:
    """A file of a bag in SQLite.

    :param tell: is told what is damaged.
    :raises UnreadableBag: it is no such file, or damaged where its topics stand.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._name = path.name
        self._tell_of = tell
        self._said_broken = False
        page_bytes, whole_bytes = _page_and_size(path)
        size = path.stat().st_size
        self._is_cut_off = size < whole_bytes
        with ExitStack() as stack:
            if self._is_cut_off:
                self._tell(f'the file is cut off: {size} of {whole_bytes} bytes are there')
                path = _without_torn_page(path, size - size % page_bytes, stack)
            self._database = self._open(path)
            stack.callback(self._database.close)
            topics = self._read_topics()
            self._closing = stack.pop_all()
        self._names = {number: topic.name for number, topic in topics.items()}
        self.topics = {topic.name: topic for topic in topics.values()}
        self.start_ns = self._number('SELECT min(timestamp) FROM messages')
        self.end_ns = self._number('SELECT max(timestamp) FROM messages')

    def messages(
        self, topics: Collection[str], start_ns: int = 0, stop_ns: int = FOREVER_NS
    ) -> Iterator[RecordedMessage]:
        """Yield messages in the order of recording; those that are damaged are passed over."""
        wanted = [number for number, name in self._names.items() if name in topics]
        query = (
            'SELECT topic_id, timestamp, '
            f'CASE WHEN topic_id IN ({",".join("?" * len(wanted))}) '
            'AND timestamp >= ? AND timestamp < ? THEN data END FROM messages WHERE id = ?'
        )
        missed = lost = 0
        for number in self._numbers(start_ns, stop_ns):
            row, is_damaged = self._row(query, (*wanted, start_ns, stop_ns, number))
            missed = 0 if row else missed + 1
            lost += is_damaged
            if row and isinstance(row[2], bytes):
                yield RecordedMessage(self._names[row[0]], row[1], row[2])
            if missed >= _GIVE_UP_AFTER:
                break
        if lost and not self._is_cut_off:
            self._tell(f'{lost} messages are damaged and left out')

    def close(self) -> None:
        """Let go of the file."""
        self._closing.close()

    def _open(self, path: Path) -> sqlite3.Connection:
        """Open for reading: with what a crashed recording left beside the file, else without."""
        problem: sqlite3.Error | None = None
        for how in ('mode=ro', 'immutable=1'):
            database = sqlite3.connect(f'{path.resolve().as_uri()}?{how}', uri=True)
            try:
                # Otherwise a file that is shorter than it says is refused as a whole.
                database.execute('PRAGMA writable_schema=ON')
                database.execute('SELECT count(*) FROM sqlite_master').fetchone()
                return database
            except sqlite3.Error as error:
                problem = error
                database.close()
        raise UnreadableBag(f'{path.name} is no bag that can be read: {problem}')

    def _read_topics(self) -> dict[int, RecordedTopic]:
        try:
            rows = self._database.execute('SELECT id, name, type FROM topics').fetchall()
        except sqlite3.Error as error:
            raise UnreadableBag(f'{self._name} is no bag that can be read: {error}') from error
        return {
            number: RecordedTopic(name, type_name, None)
            for number, name, type_name in rows
            if isinstance(name, str) and isinstance(type_name, str)
        }

    def _numbers(self, start_ns: int, stop_ns: int) -> Iterator[int]:
        """Yield the numbers of messages by time, or one after the other where that is lost."""
        last = 0
        try:
            for (number,) in self._database.execute(
                'SELECT id FROM messages WHERE timestamp >= ? AND timestamp < ? '
                'ORDER BY timestamp, id',
                (start_ns, stop_ns),
            ):
                last = max(last, number)
                yield number
        except sqlite3.Error as error:
            self._say_broken(error)
            yield from itertools.count(last + 1)

    def _row(self, query: str, values: tuple[int, ...]) -> tuple[Any, bool]:
        """Return a message's row, and whether it is there but damaged."""
        try:
            return self._database.execute(query, values).fetchone(), False
        except sqlite3.Error:
            return None, True

    def _number(self, query: str) -> int | None:
        try:
            (value,) = self._database.execute(query).fetchone()
        except sqlite3.Error as error:
            self._say_broken(error)
            return None
        return value if isinstance(value, int) else None

    def _say_broken(self, error: sqlite3.Error) -> None:
        if not (self._is_cut_off or self._said_broken):
            self._tell(f'the file is damaged ({error}); what can be read of it is used')
        self._said_broken = True

    def _tell(self, sentence: str) -> None:
        self._tell_of(f'{self._name}: {sentence}')


def _page_and_size(path: Path) -> tuple[int, int]:
    """Return the size of the file's pages, and of the whole file by its own account, in bytes."""
    with path.open('rb') as file:
        head = file.read(100)
    page_bytes = int.from_bytes(head[16:18], 'big')
    page_bytes = 65536 if page_bytes <= 1 else page_bytes
    is_valid = head[24:28] == head[92:96]  # both count changes; an old writer kept but one
    return page_bytes, page_bytes * int.from_bytes(head[28:32], 'big') if is_valid else 0


def _without_torn_page(path: Path, whole_bytes: int, stack: ExitStack) -> Path:
    """Return a copy of the whole pages alone, which goes with the stack.

    Where a file ends within a page SQLite reads the rest as zeros, and they would pass for pixels.
    """
    if path.stat().st_size == whole_bytes:
        return path
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='mast3r_replay_'))
    copy = Path(folder) / path.name
    shutil.copyfile(path, copy)
    os.truncate(copy, whole_bytes)
    return copy
