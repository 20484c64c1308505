# SPDX-License-Identifier: Apache-2.0
"""What every engine that runs an exported network shares; only running a stage is its own.

A pair passes the encoder (each view by itself), the decoder and then the heads of what is asked:
nothing else is run, nor even loaded.
"""

from __future__ import annotations

import abc
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig
from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.engine import EngineInterface, FeaturePair, Features
from mast3r_ros.core.memory import give_back_memory
from mast3r_ros.core.postprocess import descriptors, points
from mast3r_ros.core.preprocessing import GridPlan, to_grid
from mast3r_ros.core.results import FloatArray, InferenceResult, Output, ScaleSource
from mast3r_ros.core.spent_time import timed
from mast3r_ros.core.views import Grid, View
from mast3r_ros.engines.network_features import NetworkFeatures, features_of
from mast3r_ros.engines.network_size import (
    certain_shapes,
    check_pair,
    check_settings_shape,
    plan_for_tracking,
    plan_view,
    tracking_model,
)
from mast3r_ros.engines.self_check import Difference, check_engine, check_once
from mast3r_ros.errors import (
    EngineCancelled,
    EngineFailed,
    InvalidInput,
    Mast3rError,
    ModelError,
)
from mast3r_ros.models.description import DECODER, ENCODER, Shape
from mast3r_ros.models.folder import ModelFolder

_log = logging.getLogger(__name__)

Values = Mapping[str, Any]
"""Arrays by the names of a graph's inputs or outputs, in the engine's own type."""


Plan = Callable[[View, ModelFolder, ModelConfig], GridPlan]
"""Says how a view comes onto a size of the model."""


class NetworkEngine(EngineInterface):
    """Answers pairs with the network of a model folder.

    :param name: the backend's name.
    :param device: where tokens live: engines of one device alone can share features.
    """

    def __init__(
        self, name: str, config: MASt3RRuntimeConfig, folder: ModelFolder, device: str = 'cpu'
    ) -> None:
        model = folder.description
        self.matching = config.matching
        self.folder = folder
        self.provides = Output.CLOUD_1 | Output.CLOUD_2
        if model.has_descriptors:
            self.provides |= Output.DESC
        self.key = ':'.join(
            (name, device, model.variant.value, model.precision.value, model.weights.sha256)
        )
        self._name = name
        # The folder settles which network it is; the settings only said where to look.
        self._model = config.model.replace(variant=model.variant)
        self._cancelled = threading.Event()
        self._in_pair = False
        self._closed = False
        self._replaced: ModelError | None = None  # the model, by another one
        check_settings_shape(folder, self._model)
        self._for_tracking = tracking_model(folder, self._model)
        self.has_tracking_size = self._for_tracking is not None
        if model.seeded:
            _log.warning(
                'the weights of %s are made up: what it answers means nothing', folder.path
            )

    replays_pairs = False
    """Whether a pair of sizes that came before is run in another way than the first one."""

    @property
    def kept_sizes(self) -> int:
        """How many sizes of a stage stay loaded; each may hold the weights in an order of its own.

        A pair of unlike views needs two encoders.
        """
        return 4 if self.has_tracking_size else 2

    @abc.abstractmethod
    def _load(self, stage: str, shape_1: Shape, shape_2: Shape) -> bool:
        """Make a stage ready to run; True if that took work."""

    @abc.abstractmethod
    def _run(self, stage: str, shape_1: Shape, shape_2: Shape, values: Values) -> Values:
        """Run a stage on those of ``values`` that it takes; return what it makes."""

    def to_host(self, value: Any) -> NDArray[Any]:
        """Return a stage's output as an array in this process's memory, where most have it."""
        array: NDArray[Any] = value
        return array

    def bytes_of(self, value: Any) -> int:
        """Return the memory that a stage's output takes."""
        return int(value.nbytes)

    def prepare(self, view: View) -> Grid:
        """Resize and crop by the published rule, onto a size that the model has."""
        return self._prepare(view, plan_view, self._model)

    def prepare_for_tracking(self, view: View) -> Grid:
        """Do the same onto the smaller size, where the settings name one."""
        if self._for_tracking is None:
            return self.prepare(view)
        return self._prepare(view, plan_for_tracking, self._for_tracking)

    def _prepare(self, view: View, plan: Plan, model: ModelConfig) -> Grid:
        if not self._in_pair:
            self._forget_cancel()  # it came when nothing ran
        with self._part_of_pair():
            return to_grid(view, plan(view, self.folder, model), model.resize)

    def encode(self, grids: Sequence[Grid]) -> list[Features]:
        """Encode views one after the other."""
        with self._part_of_pair():
            self._begin()
            return [self._encode(grid) for grid in grids]

    def decode(self, pairs: Sequence[FeaturePair], outputs: Output) -> list[InferenceResult]:
        """Answer pairs one after the other."""
        with self._part_of_pair(is_last=True):
            self._begin()
            return [self._answer(*pair, outputs & self.provides) for pair in pairs]

    def scale_source(self, T_2_1: Matrix | None) -> ScaleSource:
        """Return metres for a metric network, no unit otherwise."""
        return ScaleSource.MODEL if self.folder.description.metric else ScaleSource.NONE

    def cancel(self) -> None:
        """Make a running call raise EngineCancelled soon."""
        self._cancelled.set()

    def close(self) -> None:
        """Free what is loaded, down to the memory that the C library would keep."""
        if not self._closed:
            self._closed = True
            self._unload()
            give_back_memory()

    @abc.abstractmethod
    def _unload(self) -> None:
        """Let go of all stages."""

    def _warm_up(self) -> None:
        """Load what every pair needs where only one size can come; heads wait to be asked for."""
        for shape in certain_shapes(self.folder, self._model, self._for_tracking):
            self._load_whole(ENCODER, shape, shape)
            self._load_whole(DECODER, shape, shape)

    def self_check(self) -> dict[str, Difference]:
        """Answer the model's own pair; return how far each answer is from float32's.

        :raises EngineUnavailable: one is farther off than the precision explains.
        """
        return check_engine(self, self.folder, replays=self.replays_pairs)

    def _check_at_load(self, config: MASt3RRuntimeConfig, *, keep: bool) -> None:
        """Do so, if the settings do not turn it off.

        :param keep: once for a machine; right for a processor alone: elsewhere a pair is quick,
            and more than can be named decides what comes of it.
        """
        if not config.runtime.self_check:
            return
        if keep and not check_once(self, self.folder, config.cache_folder):
            return
        if not keep:
            self.self_check()
        self._drop_heads()  # they come back with whoever asks for them
        give_back_memory()

    @abc.abstractmethod
    def _drop_heads(self) -> None:
        """Let go of every stage but encoders and decoders."""

    def _load_whole(self, stage: str, shape_1: Shape, shape_2: Shape) -> bool:
        """Make a stage ready to run, of the very model that was opened; True if that took work."""
        try:
            took_work = self._load(stage, shape_1, shape_2)
        except EngineCancelled:
            self._forget_cancel()  # it has done its work
            raise
        except Mast3rError:
            self._check_replaced()  # then that is why
            raise
        if took_work:
            self._check_replaced()
        return took_work

    def _check_replaced(self) -> None:
        try:
            self.folder.check_still_there()
        except ModelError as error:
            self._replaced = error
            raise

    def _begin(self) -> None:
        if self._closed:
            raise EngineFailed(f'the {self._name} engine is closed; make a new one')
        if self._replaced is not None:
            raise ModelError(str(self._replaced))

    @contextmanager
    def _part_of_pair(self, is_last: bool = False) -> Iterator[None]:
        """Hold the calls of a pair together: a cancel between any two of them ends the pair."""
        self._in_pair = True
        try:
            yield
        except BaseException:
            self._in_pair = False
            raise
        self._in_pair = not is_last

    def _forget_cancel(self) -> None:
        self._cancelled.clear()

    def _check_cancelled(self) -> None:
        if self._cancelled.is_set():
            raise EngineCancelled(f'the {self._name} engine was cancelled while it ran')

    def _encode(self, grid: Grid) -> Features:
        shape = (grid.height, grid.width)
        if shape not in self.folder.encoder_shapes:
            raise InvalidInput(
                f'the grid is {shape[1]}x{shape[0]} and the model has '
                f'{self.folder.sizes_in_words()}; prepare the view with this engine'
            )
        image = np.ascontiguousarray(grid.image)[np.newaxis]
        made = self._stage(ENCODER, shape, shape, {'image': image}, {})
        tokens = made['tokens']
        return NetworkFeatures(grid, self.key, tokens, self.bytes_of(tokens), self.to_host)

    def _answer(
        self, features_1: Features, features_2: Features, T_2_1: Matrix | None, outputs: Output
    ) -> InferenceResult:
        one, two = features_of(self.key, features_1), features_of(self.key, features_2)
        check_pair(self.folder, one.shape, two.shape)
        spent_ms: dict[str, float] = {}
        answers: dict[str, Any] = self._decode(one, two, outputs, spent_ms) if outputs else {}
        return InferenceResult(
            one.grid,
            two.grid,
            T_2_1=T_2_1,
            scale_source=self.scale_source(T_2_1),
            timing_ms=spent_ms,
            **answers,
        )

    def _decode(
        self,
        one: NetworkFeatures,
        two: NetworkFeatures,
        outputs: Output,
        spent_ms: dict[str, float],
    ) -> dict[str, FloatArray]:
        """Return the fields of the result; tokens never leave the device."""
        values = {'tokens_1': one.tokens, 'tokens_2': two.tokens}
        shapes = (one.shape, two.shape)
        values |= self._stage(DECODER, *shapes, values, spent_ms)
        answers: dict[str, FloatArray] = {}
        for view, item, cloud in ((1, one, Output.CLOUD_1), (2, two, Output.CLOUD_2)):
            if outputs & cloud:
                raw = self._raw(f'points_{view}', shapes, values, spent_ms)
                with timed(spent_ms, 'unpack'):
                    pts3d, conf = points(raw)
                    if item.grid.mask is not None:
                        pts3d[~item.grid.mask] = np.nan
                answers |= {f'pts3d_{view}': pts3d, f'conf_{view}': conf}
            if outputs & Output.DESC:
                raw = self._raw(f'descriptors_{view}', shapes, values, spent_ms)
                with timed(spent_ms, 'unpack'):
                    desc, desc_conf = descriptors(raw)
                answers |= {f'desc_{view}': desc, f'desc_conf_{view}': desc_conf}
        return answers

    def _raw(
        self, head: str, shapes: tuple[Shape, Shape], values: Values, spent_ms: dict[str, float]
    ) -> NDArray[Any]:
        """Run a head and return its last layer (H, W, channels)."""
        made = self._stage(head, *shapes, values, spent_ms)
        with timed(spent_ms, head.rpartition('_')[0]):
            raw: NDArray[Any] = self.to_host(made[head])[0]
        return raw

    def _stage(
        self,
        stage: str,
        shape_1: Shape,
        shape_2: Shape,
        values: Values,
        spent_ms: dict[str, float],
    ) -> Values:
        name = stage.rpartition('_')[0] or stage
        try:
            self._check_cancelled()
            start = time.perf_counter()
            if self._load_whole(stage, shape_1, shape_2):
                spent_ms['load'] = spent_ms.get('load', 0.0) + (time.perf_counter() - start) * 1e3
                self._check_cancelled()
            with timed(spent_ms, name):
                return self._run(stage, shape_1, shape_2, values)
        except EngineCancelled:
            self._forget_cancel()  # it has done its work
            raise
