# SPDX-License-Identifier: Apache-2.0
"""Answers every pair of a bag, in order, with the pipeline that the node drives.

Nothing depends on the clock or on who is faster: the same bag and settings give the same results
on the same machine with the same versions.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from mast3r_ros.bags.bag import Bag
from mast3r_ros.bags.camera_topics import CameraTopics
from mast3r_ros.bags.frame_stream import FrameStream
from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.bags.recorded import FOREVER_NS, RecordedMessage, Tell
from mast3r_ros.config import MASt3RRuntimeConfig, NodeConfig
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.pipeline import Pipeline
from mast3r_ros.core.products import PairResult, Product
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.core.worker_state import GONE
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.errors import InvalidInput, Mast3rError

EngineFactory = Callable[[MASt3RRuntimeConfig], EngineInterface]

_MOST_THREADS = 256


@dataclass(frozen=True)
class Part:
    """Which part of a bag is replayed.

    :param start_s: so long after the first recorded message.
    :param duration_s: for so long; None: to the end.
    :param pairs: at most so many; None: all.
    """

    start_s: float = 0.0
    duration_s: float | None = None
    pairs: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.start_s < math.inf:
            raise InvalidInput(f'the start is {self.start_s:g} s; give 0 or more')
        if self.duration_s is not None and not 0.0 < self.duration_s < math.inf:
            raise InvalidInput(f'the duration is {self.duration_s:g} s; give more than 0')
        if self.pairs is not None and self.pairs < 1:
            raise InvalidInput(f'the number of pairs is {self.pairs}; give at least 1')

    def window_ns(self, bag: Bag) -> tuple[int, int]:
        """Return the times of recording from which and before which messages are taken."""
        start_ns = _later(bag.start_ns or 0, self.start_s)
        if self.duration_s is None:
            return start_ns, FOREVER_NS
        return start_ns, _later(start_ns, self.duration_s)


class Replay:
    """One way through a bag.

    :param wanted: what is computed.
    :param tell: is told what goes wrong; the rest is answered all the same.
    :param make_engine: builds the engine; tests put their own in.
    """

    def __init__(
        self,
        bag: Bag,
        cameras: Sequence[CameraTopics],
        config: NodeConfig,
        types: MessageTypes,
        tell: Tell,
        *,
        part: Part | None = None,
        wanted: Product = Product.ALL,
        make_engine: EngineFactory = get_runtime,
    ) -> None:
        self.config = with_fixed_threads(config)
        self.answered = 0
        self.failed = 0
        self.fraction = 0.0  # of the time to be replayed
        self.closest_miss_ns: int | None = None  # of two stamps that were too far apart
        self._bag = bag
        self._topics = [name for camera in cameras for name in camera.names]
        self._infos = [camera.info for camera in cameras if camera.info]
        self._part = part or Part()
        self._wanted = wanted
        self._make_engine = make_engine
        self._tell = tell
        self._stream = FrameStream(cameras, config.input, types, tell)
        self._pipeline: Pipeline | None = None

    @property
    def drops(self) -> dict[str, int]:
        """How many images, masks and pairs came to nothing so far, by reason."""
        return dict(self._stream.drops + Counter(self._pipeline.drops if self._pipeline else {}))

    def results(self) -> Generator[PairResult, None, None]:
        """Yield the answer to each pair; one that fails is told, counted and passed over.

        :raises Mast3rError: there is no engine, or it is dead.
        """
        with EngineWorker(
            lambda: self._make_engine(self.config),
            call_timeout_s=self.config.runtime.call_timeout_s,
            features_memory_mb=self.config.runtime.features_memory_mb,
        ) as worker:
            worker.wait_ready()
            pipeline = self._pipeline = Pipeline(worker, self.config)
            pipeline.wanted = self._wanted
            for pair in islice(self._pairs(pipeline), self._part.pairs):
                result = self._answer(pipeline, worker, pair)
                if result is not None:
                    yield result

    def _pairs(self, pipeline: Pipeline) -> Iterator[ViewPair]:
        window_ns = self._part.window_ns(self._bag)
        infos = self._bag.first_messages(self._infos, window_ns[0])
        self._stream.learn_calibration(infos)
        messages = self._followed(self._bag.messages(self._topics, *window_ns), window_ns)
        for source, frame in self._stream.frames(messages):
            yield from pipeline.pair_up(source, frame)
        yield from pipeline.finish()
        self.closest_miss_ns = pipeline.take_closest_miss_ns()

    def _followed(
        self, messages: Iterator[RecordedMessage], window_ns: tuple[int, int]
    ) -> Iterator[RecordedMessage]:
        """Keep ``fraction`` up to date."""
        start_ns = window_ns[0]
        length_ns = max(1, min(window_ns[1], self._bag.end_ns or start_ns) - start_ns)
        for message in messages:
            self.fraction = min(1.0, (message.time_ns - start_ns) / length_ns)
            yield message

    def _answer(
        self, pipeline: Pipeline, worker: EngineWorker, pair: ViewPair
    ) -> PairResult | None:
        try:
            result = pipeline.process(pair)
        except Exception as error:  # whatever an engine may raise costs this one pair
            if worker.state in GONE:
                raise
            self.failed += 1
            known = isinstance(error, Mast3rError)
            self._tell(f'a pair failed: {error if known else repr(error)}')
            return None
        self.answered += 1
        return result


def _later(time_ns: int, seconds: float) -> int:
    """Return a time so much later, as far as a bag can tell times."""
    return min(FOREVER_NS, time_ns + round(min(seconds * 1e9, FOREVER_NS)))


def with_fixed_threads(config: NodeConfig) -> NodeConfig:
    """Return the settings with a number of threads: sums depend on how many share them."""
    runtime = config.runtime
    if runtime.num_threads:
        return config
    threads = min(usable_cores(), _MOST_THREADS)
    return config.replace(runtime=runtime.replace(num_threads=threads))
