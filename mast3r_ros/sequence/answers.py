# SPDX-License-Identifier: Apache-2.0
"""What the tracker asks of an engine: answers to pairs of views, and a picture's fingerprint."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mast3r_ros.config import PairingMode, PipelineConfig
from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.engine import EngineInterface, Features
from mast3r_ros.core.feature_cache import FeatureCache
from mast3r_ros.core.pair_processor import PairProcessor
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import PairResult, Product
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker

_KEPT_VIEWS = 3  # encoded at a time, besides the one that is followed against


class Answers(Protocol):
    """Answers pairs."""

    def pair(
        self, view_1: View, view_2: View, wanted: Product, T_2_1: Matrix | None = None
    ) -> PairResult:
        """Answer one pair."""

    def descriptor(self, view: View) -> FloatArray:
        """Return one unit vector for a picture, alike for alike places."""

    def hold(self, view: View) -> None:
        """Keep what is known of this view until another one is held."""


class EngineAnswers:
    """Answers from an engine, each view encoded once while it is in use.

    :param worker: owner of the engine; others may share it.
    """

    def __init__(self, worker: EngineWorker, config: PipelineConfig) -> None:
        pairing = config.pairing.replace(mode=PairingMode.SEQUENCE)
        self._worker = worker
        self._processor = _Processor(config.replace(pairing=pairing))

    def pair(
        self, view_1: View, view_2: View, wanted: Product, T_2_1: Matrix | None = None
    ) -> PairResult:
        """Answer one pair; raises what the engine raises."""
        pair = ViewPair(view_1, view_2, T_2_1)
        return self._worker.call(lambda engine: self._processor.process(engine, pair, wanted))

    def descriptor(self, view: View) -> FloatArray:
        """Return one unit vector for a picture, alike for alike places."""
        return self._worker.call(lambda engine: self._processor.descriptor(engine, view))

    def hold(self, view: View) -> None:
        """Keep what is encoded of this view until another one is held."""
        self._processor.held.hold(view)

    def close(self) -> None:
        """Give back what is kept on the engine."""
        self._worker.call(lambda engine: self._processor.reset())


class _Processor(PairProcessor):
    """Answers pairs, and fingerprints views with the same memory of encoded ones."""

    def __init__(self, config: PipelineConfig) -> None:
        super().__init__(config)
        self.held = self._features = _HeldFeatures()

    def descriptor(self, engine: EngineInterface, view: View) -> FloatArray:
        features = self._encode(engine, (view,), {})
        found = features[0].global_descriptor()
        self._features.keep(engine, (view,), features)
        return found


class _HeldFeatures(FeatureCache):
    """Keeps the latest views in the order of use, and one for as long as it is held."""

    def __init__(self) -> None:
        super().__init__(_KEPT_VIEWS)
        self._held: View | None = None

    def hold(self, view: View) -> None:
        self._held = view

    def keep(
        self, engine: EngineInterface, views: Sequence[View], features: Sequence[Features]
    ) -> None:
        self._follow(engine)
        for view, item in zip(views, features, strict=True):
            self._kept.pop(id(view), None)
            self._kept[id(view)] = (view, item)
        loose = [key for key, (view, _) in self._kept.items() if view is not self._held]
        for key in loose[: max(0, len(loose) - self._capacity)]:
            self._kept.pop(key)[1].release()
