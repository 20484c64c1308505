# SPDX-License-Identifier: Apache-2.0
"""A replay from bag to bag: results are written as they come, pair by whole pair.

The new bag is begun with the first result, so that a replay that comes to nothing leaves nothing
and replaces nothing; and it is closed whatever happens, so that it can be read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from mast3r_ros.bags.interruption import Interruption
from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.bags.replay import Replay
from mast3r_ros.bags.result_bag import ResultBag, about_replay, clear_target
from mast3r_ros.core.products import Product
from mast3r_ros.core.results import EngineInfo
from mast3r_ros.errors import Mast3rError
from mast3r_ros.wire.result_topics import RESULT_TOPICS, ResultTopic


@dataclass(frozen=True)
class Target:
    """The new bag.

    :param path: its folder; an older bag there is replaced.
    :param topics: what is written.
    :param storage: mcap or sqlite3.
    :param node_name: what the topics lie below.
    :param with_stats: write the statistics into the bag too.
    """

    path: Path
    topics: Sequence[ResultTopic] = RESULT_TOPICS
    storage: str = 'mcap'
    node_name: str = '/mast3r'
    with_stats: bool = False

    @property
    def wanted(self) -> Product:
        """What must be computed for it."""
        wanted = Product.NOTHING
        for topic in self.topics:
            wanted |= topic.needs
        return wanted


@dataclass
class Outcome:
    """What became of a replay."""

    pairs: int = 0
    failed: int = 0
    seconds: float = 0.0
    stopped: bool = False  # on request, before its end
    engine: EngineInfo | None = None
    path: Path | None = None  # None where nothing was written
    messages: dict[str, int] = field(default_factory=dict)  # written, by topic
    drops: dict[str, int] = field(default_factory=dict)
    closest_miss_ns: int | None = None
    error: Mast3rError | None = None  # why it ended before its end


def run_replay(
    replay: Replay,
    target: Target,
    types: MessageTypes,
    inputs: Sequence[str],
    on_pair: Callable[[Replay], None] = lambda replay: None,
) -> Outcome:
    """Replay until the end, or until Ctrl-C.

    :param inputs: the cameras in words, to be kept with the bag.
    :param on_pair: called after each pair.
    """
    outcome, start = Outcome(), time.monotonic()
    bag: ResultBag | None = None
    with Interruption() as interruption:
        try:
            with closing(replay.results()) as results:
                for result in results:
                    with interruption.whole_step():
                        if bag is None:
                            bag = _begin(replay, target, types, inputs, result.engine)
                            outcome.engine = result.engine
                        bag.write(result, replay.drops)
                    on_pair(replay)
        except KeyboardInterrupt:
            outcome.stopped = True
        except Mast3rError as error:
            outcome.error = error
        finally:
            if bag is not None:
                interruption.ignore()
                bag.close()
    if bag is not None:
        outcome.path, outcome.messages = target.path, dict(bag.counts)
    outcome.pairs, outcome.failed = replay.answered, replay.failed
    outcome.drops, outcome.closest_miss_ns = replay.drops, replay.closest_miss_ns
    outcome.seconds = time.monotonic() - start
    return outcome


def _begin(
    replay: Replay,
    target: Target,
    types: MessageTypes,
    inputs: Sequence[str],
    engine: EngineInfo,
) -> ResultBag:
    clear_target(target.path)
    return ResultBag(
        target.path,
        replay.config,
        types,
        topics=target.topics,
        storage=target.storage,
        node_name=target.node_name,
        with_stats=target.with_stats,
        about=about_replay(replay.config, engine, inputs),
    )
