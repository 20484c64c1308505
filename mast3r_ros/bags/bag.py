# SPDX-License-Identifier: Apache-2.0
"""A recorded rosbag2 bag: a folder or a single file, MCAP or SQLite, packed or not."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from mast3r_ros.bags.compression import ZSTD_START, Damaged, unpacked, unpacked_pieces
from mast3r_ros.bags.mcap_file import McapFile
from mast3r_ros.bags.recorded import (
    FOREVER_NS,
    RecordedFile,
    RecordedMessage,
    RecordedTopic,
    Tell,
    UnreadableBag,
)
from mast3r_ros.bags.sqlite_file import SqliteFile

_READERS: dict[str, Callable[[Path, Tell], RecordedFile]] = {
    '.mcap': McapFile,
    '.db3': SqliteFile,
}
_PACKED = '.zstd'  # behind the name of a file that is packed as a whole


class Bag:
    """A bag to be read; a context manager.

    :param path: its folder, or one of its files.
    :param tell: is told, in sentences, what is damaged or missing; the rest is read all the same.
    :raises UnreadableBag: nothing can be read.
    """

    def __init__(self, path: str | Path, tell: Tell) -> None:
        self.path = Path(path)
        self._tell = tell
        self._files: list[RecordedFile] = []
        self._counts: dict[str, int] = {}
        with ExitStack() as stack:
            problems = self._open(self._find_files(), stack)
            if not self._files:
                raise UnreadableBag(' '.join(problems) or f'{path} holds no .mcap or .db3 file')
            for problem in problems:
                tell(problem)
            self._closing = stack.pop_all()
        self._files.sort(key=lambda file: file.start_ns or 0)

    @property
    def topics(self) -> dict[str, RecordedTopic]:
        """Every topic by name."""
        found: dict[str, RecordedTopic] = {}
        for file in self._files:
            for name, topic in file.topics.items():
                found[name] = _added(found[name], topic) if name in found else topic
        for name, topic in found.items():
            if topic.count is None:
                found[name] = replace(topic, count=self._counts.get(name))
        return dict(sorted(found.items()))

    @property
    def start_ns(self) -> int | None:
        """When the first message was recorded; None in an empty bag."""
        known = [file.start_ns for file in self._files if file.start_ns is not None]
        return min(known, default=None)

    @property
    def end_ns(self) -> int | None:
        """When the last message was recorded; None in an empty bag."""
        return max((file.end_ns for file in self._files if file.end_ns is not None), default=None)

    def messages(
        self, topics: Collection[str], start_ns: int = 0, stop_ns: int = FOREVER_NS
    ) -> Iterator[RecordedMessage]:
        """Yield the messages of some topics in the order of recording, up to ``stop_ns``."""
        for file in self._files:
            for message in file.messages(topics, start_ns, stop_ns):
                if not message.data.startswith(ZSTD_START):
                    yield message
                    continue
                try:
                    yield replace(message, data=unpacked(message.data, 'zstd'))
                except Damaged as error:
                    self._tell(f'messages of {message.topic} cannot be unpacked: {error}')

    def first_messages(self, topics: Collection[str], start_ns: int) -> Iterator[RecordedMessage]:
        """Yield each topic's first message from a time on, or its first of all where none is left.

        Some record a calibration but once, at the beginning.
        """
        missing = set(topics)
        for from_ns in (start_ns, 0):
            if not missing:
                return
            for message in self.messages(frozenset(missing), from_ns):
                if message.topic in missing:
                    missing.remove(message.topic)
                    yield message
                if not missing:
                    return

    def close(self) -> None:
        """Let go of the files."""
        self._closing.close()

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _find_files(self) -> list[Path]:
        if not self.path.exists():
            raise UnreadableBag(f'{self.path} does not exist; give the folder or file of a bag')
        if not self.path.is_dir():
            return [self.path]
        there = sorted(
            (file for file in self.path.iterdir() if _reader_of(file) is not None),
            key=lambda file: [int(part) for part in re.findall(r'\d+', file.name)],
        )
        metadata = self._metadata()
        if metadata is None:
            return there
        named = [self.path / Path(name).name for name in metadata.get('relative_file_paths', ())]
        for file in named:
            if not file.exists():
                self._tell(f'{self.path}: {file.name} is missing, which metadata.yaml names')
        return [file for file in named if file.exists()] or there

    def _metadata(self) -> dict[str, Any] | None:
        """Return what metadata.yaml says; None where it says nothing."""
        try:
            text = (self.path / 'metadata.yaml').read_text(encoding='utf-8')
            content: dict[str, Any] = yaml.safe_load(text)['rosbag2_bagfile_information']
            self._counts = {
                entry['topic_metadata']['name']: int(entry['message_count'])
                for entry in content['topics_with_message_count']
            }
        except OSError:
            self._tell(f'{self.path} has no metadata.yaml; its files are read without')
            return None
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError):
            self._tell(f'{self.path}/metadata.yaml is damaged; the files are read without')
            return None
        return content

    def _open(self, paths: list[Path], stack: ExitStack) -> list[str]:
        """Open what can be opened, and return why the rest cannot."""
        problems = []
        for path in paths:
            try:
                file = self._open_file(path, stack)
            except UnreadableBag as error:
                problems.append(f'{error}.')
                continue
            stack.callback(file.close)
            self._files.append(file)
        return problems

    def _open_file(self, path: Path, stack: ExitStack) -> RecordedFile:
        reader = _reader_of(path)
        if reader is None:
            hint = '; convert it with `rosbags-convert` first' if path.suffix == '.bag' else ''
            raise UnreadableBag(f'{path} is no .mcap or .db3 file of a ROS 2 bag{hint}')
        if path.suffix == _PACKED:
            path = self._unpack(path, stack)
        return reader(path, self._tell)

    def _unpack(self, path: Path, stack: ExitStack) -> Path:
        """Unpack a file into a folder that goes when the bag is closed."""
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix='mast3r_replay_'))
        target = Path(folder) / path.name.removesuffix(_PACKED)
        with path.open('rb') as packed, target.open('wb') as plain:
            try:
                for piece in unpacked_pieces(packed, 'zstd'):
                    plain.write(piece)
            except Damaged as error:
                self._tell(f'{path.name} is damaged: {error}')
        return target


def _reader_of(path: Path) -> Callable[[Path, Tell], RecordedFile] | None:
    return _READERS.get(Path(path.name.removesuffix(_PACKED)).suffix)


def _added(one: RecordedTopic, other: RecordedTopic) -> RecordedTopic:
    if one.count is None or other.count is None:
        return replace(one, count=None)
    return replace(one, count=one.count + other.count)
