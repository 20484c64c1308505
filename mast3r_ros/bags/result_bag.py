# SPDX-License-Identifier: Apache-2.0
"""Writes results to a new bag, under the very topics and types that the node publishes."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml

from mast3r_ros import __version__
from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.bags.stats_table import StatsTable
from mast3r_ros.config import NodeConfig
from mast3r_ros.core.products import PairResult
from mast3r_ros.core.results import EngineInfo
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.cloud_rate import CloudRate
from mast3r_ros.wire.message_fields import MessageFields
from mast3r_ros.wire.result_topics import (
    RESULT_TOPICS,
    STATS_TOPIC,
    STATS_TYPE,
    ResultPacker,
    ResultTopic,
)
from mast3r_ros.wire.stats_fields import Publication, stats_fields

STORAGES = ('mcap', 'sqlite3')
STATS_FILE = 'stats.csv'
METADATA_FILE = 'metadata.yaml'

_BAG_VERSION: Literal[9] = 9  # of rosbag2's metadata: Jazzy and later
_UNKNOWN_AGE_MS = float('nan')  # nothing was published, so nothing aged


class ResultBag:
    """A bag of results and the table of their statistics.

    Everything but the statistics is the same, byte by byte, whenever it is written again. The log
    time of every message is the stamp in its header.

    :param path: the new folder.
    :param topics: what is written, of :data:`RESULT_TOPICS`.
    :param node_name: what the topics lie below, as ``/mast3r``.
    :param with_stats: write the statistics into the bag too.
    :param about: facts to be kept with the bag.
    """

    def __init__(
        self,
        path: Path,
        config: NodeConfig,
        types: MessageTypes,
        *,
        topics: Sequence[ResultTopic] = RESULT_TOPICS,
        storage: str = 'mcap',
        node_name: str = '/mast3r',
        with_stats: bool = False,
        about: Mapping[str, str] | None = None,
    ) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        self.path = path
        self.counts: Counter[str] = Counter()  # messages, by full name of the topic
        self._config = config
        self._types = types
        self._topics = topics
        self._node_name = node_name
        self._packer = ResultPacker(config)
        self._clouds = CloudRate()
        plugin = StoragePlugin[storage.upper()]
        self._writer = Writer(path, version=_BAG_VERSION, storage_plugin=plugin)
        self._writer.open()
        self._table = StatsTable(path / STATS_FILE)
        self._connections = {
            topic.name: self._connect(topic.name, topic.type_name) for topic in topics
        }
        if with_stats:
            self._connections[STATS_TOPIC] = self._connect(STATS_TOPIC, STATS_TYPE)
        for key, value in (about or {}).items():
            self._writer.set_custom_data(key, value)

    def write(self, result: PairResult, drops: Mapping[str, int]) -> None:
        """Write everything made of one pair.

        :param drops: inputs dropped so far, by reason.
        """
        start = time.perf_counter()
        clouds_due = self._clouds.is_due(result.stamp_ns, self._config.output.cloud_rate_max_hz)
        for topic in self._topics:
            if clouds_due or not topic.is_cloud:
                self._put(topic.name, result.stamp_ns, topic.pack(self._packer, result))
        spent_ms = (time.perf_counter() - start) * 1e3
        engine = result.engine
        how = Publication(engine.name, engine.device, spent_ms, _UNKNOWN_AGE_MS, drops)
        stats = stats_fields(result, result.pair.view_1.frame_id, how)
        self._table.write(result.stamp_ns, stats, result.notes)
        if STATS_TOPIC in self._connections:
            self._put(STATS_TOPIC, result.stamp_ns, stats)

    def close(self) -> None:
        """Finish bag and table; without this the bag cannot be read."""
        self._table.close()
        self._writer.close()

    def _connect(self, name: str, type_name: str) -> Any:
        full_name = f'{self._node_name}/{name}'
        self.counts[full_name] = 0
        return self._writer.add_connection(full_name, type_name, typestore=self._types.store)

    def _put(self, name: str, stamp_ns: int, fields: MessageFields | None) -> None:
        if fields is None:
            return
        self._writer.write(self._connections[name], stamp_ns, self._types.write(fields))
        self._packer.release(fields)
        self.counts[f'{self._node_name}/{name}'] += 1


def topics_named(names: Sequence[str]) -> tuple[ResultTopic, ...]:
    """Return the result topics of these names, in the table's order; all where none is named."""
    known = [topic.name for topic in RESULT_TOPICS]
    for name in names:
        if name not in known:
            raise InvalidInput(f'{name!r} is no topic of results; known are {", ".join(known)}')
    return tuple(topic for topic in RESULT_TOPICS if not names or topic.name in names)


def about_replay(config: NodeConfig, engine: EngineInfo, inputs: Sequence[str]) -> dict[str, str]:
    """Return what a bag of results keeps of how it was made; the same for the same replay."""
    versions = {'engine': engine.name, 'device': engine.device, 'precision': engine.precision}
    return {
        'mast3r_ros.version': __version__,
        'mast3r_ros.engine': json.dumps({**versions, **engine.versions}, sort_keys=True),
        'mast3r_ros.inputs': '; '.join(inputs),
        'mast3r_ros.settings': config.to_yaml(),
    }


def check_target(path: Path, source: Path, *, replace: bool) -> None:
    """Refuse a folder that must not be written.

    :param source: the bag that is read.
    :param replace: whether an older bag there may be replaced.
    """
    target = path.resolve()
    if target == source.resolve() or target in source.resolve().parents:
        raise InvalidInput(f'{path} is where the bag itself lies; give another folder as output')
    if not path.exists():
        return
    if not replace:
        raise InvalidInput(f'{path} exists already; give another folder, or --force to replace it')
    if path.is_symlink():
        raise InvalidInput(f'{path} is a link, so it is not replaced; give the folder itself')
    _files_of_bag(path)


def clear_target(path: Path) -> None:
    """Remove an older bag that :func:`check_target` has let pass.

    :raises InvalidInput: other things have come into its folder since.
    """
    if path.exists():
        for file in _files_of_bag(path):
            file.unlink()
        path.rmdir()


def _files_of_bag(path: Path) -> list[Path]:
    """Return the files of a bag's folder, all of which are the bag's.

    :raises InvalidInput: it is no bag, or other things lie there too.
    """
    try:
        content = yaml.safe_load((path / METADATA_FILE).read_text(encoding='utf-8'))
        named = content['rosbag2_bagfile_information']['relative_file_paths']
        own = {METADATA_FILE, STATS_FILE, *(Path(name).name for name in named)}
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError) as error:
        raise InvalidInput(
            f'{path} is no bag, so it is not replaced; give another folder'
        ) from error
    files = sorted(path.iterdir())
    for file in files:
        if file.name not in own or not file.is_file():
            raise InvalidInput(
                f'{path} holds {file.name}, which is no part of the bag there, so it is not '
                'replaced; move it away, or give another folder'
            )
    return files
