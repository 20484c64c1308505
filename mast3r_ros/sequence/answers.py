# SPDX-License-Identifier: Apache-2.0
"""What the tracker asks of an engine: answers to pairs of views, and a picture's fingerprint."""

from __future__ import annotations

from typing import Protocol

from mast3r_ros.config import PipelineConfig
from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.pair_processor import PairProcessor
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import PairResult, Product
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker


class Answers(Protocol):
    """Answers pairs."""

    @property
    def has_tracking_size(self) -> bool:
        """Whether pairs can be answered on fewer pixels, which is faster."""

    def pair(
        self,
        view_1: View,
        view_2: View,
        wanted: Product,
        T_2_1: Matrix | None = None,
        *,
        for_tracking: bool = False,
    ) -> PairResult:
        """Answer one pair.

        :param for_tracking: on the fewer pixels.
        """

    def descriptor(self, view: View) -> FloatArray:
        """Return one unit vector for a picture, alike for alike places."""

    def hold(self, view: View) -> None:
        """Keep what is known of this view until another one is held."""


class EngineAnswers:
    """Answers from an engine, each view encoded once while there is room for what was made of it.

    :param worker: owner of the engine; others may share it.
    """

    def __init__(self, worker: EngineWorker, config: PipelineConfig) -> None:
        self._worker = worker
        self._processor = PairProcessor(config, worker.features)
        self._small = PairProcessor(config, worker.features, for_tracking=True)

    @property
    def has_tracking_size(self) -> bool:
        """Whether the engine, as it is now, has a size for tracking."""
        return self._worker.call(lambda engine: engine.has_tracking_size)

    def pair(
        self,
        view_1: View,
        view_2: View,
        wanted: Product,
        T_2_1: Matrix | None = None,
        *,
        for_tracking: bool = False,
    ) -> PairResult:
        """Answer one pair; raises what the engine raises."""
        pair = ViewPair(view_1, view_2, T_2_1)
        processor = self._small if for_tracking else self._processor
        return self._worker.call(lambda engine: processor.process(engine, pair, wanted))

    def descriptor(self, view: View) -> FloatArray:
        """Return one unit vector for a picture, alike for alike places."""
        return self._worker.call(lambda engine: self._processor.descriptor(engine, view))

    def hold(self, view: View) -> None:
        """Keep what is encoded of this view until another one is held."""
        self._worker.features.hold(self, view)
