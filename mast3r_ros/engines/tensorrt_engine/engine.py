# SPDX-License-Identifier: Apache-2.0
"""The engine that runs exported networks with TensorRT; written after its published interface.

It was driven through stand-ins that hold it to that interface, and not yet run on hardware.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.config import BackendType, MASt3RRuntimeConfig
from mast3r_ros.core.results import EngineInfo, FloatArray, Output
from mast3r_ros.engines.network_engine import NetworkEngine, Values
from mast3r_ros.engines.network_features import NetworkFeatures
from mast3r_ros.engines.tensorrt_engine.builder import Tell
from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaError
from mast3r_ros.engines.tensorrt_engine.log import TensorRtLog
from mast3r_ros.engines.tensorrt_engine.memory import HostBlock
from mast3r_ros.engines.tensorrt_engine.opening import (
    engine_store,
    needed_stages,
    open_card,
    precisions_of,
    tensorrt_library,
)
from mast3r_ros.engines.tensorrt_engine.pair_work import IMAGE, TOKENS, DeviceTokens, PairWork
from mast3r_ros.engines.tensorrt_engine.stage import Stage
from mast3r_ros.engines.tensorrt_engine.stages import DeviceTensor, LoadedStages, StagesOfSize
from mast3r_ros.engines.tensorrt_engine.store import Wanted
from mast3r_ros.errors import EngineCancelled
from mast3r_ros.models.description import DECODER, ENCODER, Shape
from mast3r_ros.models.folder import find_model

_log = logging.getLogger(__name__)

_PERIOD_S = 1e-4  # between two looks at whether the card is done
_numbers = itertools.count(1)


class TensorRtEngine(NetworkEngine):
    """Runs the stages of a model folder as TensorRT engines on one queue of one card.

    Tokens stay on the card. All stages of a pair, encoders of new views included, are queued as
    one captured graph; while the card is at a later head, the processor unpacks what an earlier
    one made.
    """

    replays_pairs = True

    def __init__(
        self,
        config: MASt3RRuntimeConfig | None = None,
        tell: Tell = lambda _fraction, _what: None,
    ) -> None:
        config = config or MASt3RRuntimeConfig()
        self._library = tensorrt_library()
        self._cuda = open_card(config)
        self._loaded: LoadedStages | None = None
        try:
            name = BackendType.TENSORRT.value
            folder = find_model(config, name, precisions_of(self._cuda))
            super().__init__(name, config, folder, f'cuda:{self._cuda.card.index}')
            self.key = f'{self.key}:{next(_numbers)}'  # tokens lie in this engine's own memory
            self._wanted: tuple[str, ...] = ()
            self._log = TensorRtLog(self._library)
            with self._cuda.current():
                self._store = engine_store(
                    config, self._library, self._log, self._cuda, folder, self._is_cancelled
                )
                self._loaded = LoadedStages(self._cuda, self.kept_sizes)
                needed = needed_stages(folder, self._model)
                self._build_missing(needed, tell)
                self._warm_up()
                self._check_at_load(config, keep=False)
        except BaseException:
            self._give_back()
            raise

    def to_host(self, value: Any) -> NDArray[Any]:
        """Return a stage's output as an array in this process's memory, once it is there."""
        if isinstance(value, DeviceTokens):
            return self._fetched(self._encoded(value))
        size, name = value
        self._wait(size.host(name))
        array: NDArray[Any] = size.host_array(name)
        return array

    def bytes_of(self, value: Any) -> int:
        """Return the memory that a stage's output takes."""
        return int(value.port.nbytes)

    def describe(self) -> EngineInfo:
        """Say what runs and on what, and that nobody has seen it run there."""
        model, card = self.folder.description, self._cuda.card
        versions = {
            'tensorrt': str(self._library.__version__),
            'cuda': self._cuda.library,
            'driver': card.driver,
            'model': f'{model.variant.value} {model.weights.sha256[:12]}',
            'state': 'not yet run on hardware',
        }
        device = f'cuda:{card.index} {card.name}'
        return EngineInfo(self._name, device, model.precision.value, versions)

    def _build_missing(self, needed: Sequence[Wanted], tell: Tell) -> None:
        """Build what pairs may need, before the first of them: a call may not take minutes."""
        missing = self._store.missing(needed)
        if missing:
            _log.warning(
                'TensorRT builds %d engines for %s; that takes minutes, once for this card, '
                'driver and TensorRT',
                len(missing),
                self._cuda.card.name,
            )
            self._store.build_missing(missing, tell)

    def _load(self, stage: str, shape_1: Shape, shape_2: Shape) -> bool:
        loaded = self._stages()
        if loaded.get(stage, shape_1, shape_2) is not None:
            return False
        with self._cuda.current():
            engine = self._store.engine(stage, shape_1, shape_2)
            made = Stage(self._library, self._cuda, self._log, engine, stage)
            loaded.add(made, shape_1, shape_2)
        return True

    def _decode(
        self,
        one: NetworkFeatures,
        two: NetworkFeatures,
        outputs: Output,
        spent_ms: dict[str, float],
    ) -> dict[str, FloatArray]:
        """Have every head that is asked for loaded, so that the pair can be queued at once."""
        self._wanted = _heads(outputs)
        start = time.perf_counter()
        took_work = [self._load_whole(head, one.shape, two.shape) for head in self._wanted]
        took_work += [
            self._load_whole(
                ENCODER, view.shape, view.shape
            )  # another one may have taken its room
            for view in (one, two)
            if view.tokens.values is None
        ]
        if any(took_work):
            spent_ms['load'] = (time.perf_counter() - start) * 1e3
        return super()._decode(one, two, outputs, spent_ms)

    def _run(self, stage: str, shape_1: Shape, shape_2: Shape, values: Values) -> Values:
        size = self._stages().get(stage, shape_1, shape_2)
        assert size is not None
        with self._cuda.current():
            if stage == ENCODER:
                return {TOKENS: self._sent(size, values['image'])}
            if stage == DECODER:
                self._queue_pair(size, (values['tokens_1'], values['tokens_2']))
                return {}
        return {stage: (size, stage)}

    def _sent(self, size: StagesOfSize, image: NDArray[Any]) -> DeviceTokens:
        """Queue a picture's way to the card; it is encoded with the first pair that needs it."""
        host = size.host(IMAGE)
        self._wait(host)  # until the last picture has left it
        np.copyto(size.host_array(IMAGE), image)
        place = size.empty_like(IMAGE)
        host.send(place.block.address)
        return DeviceTokens(place, size.tensor(TOKENS).port)

    def _queue_pair(self, size: StagesOfSize, views: tuple[DeviceTokens, DeviceTokens]) -> None:
        """Queue all that a pair needs, without waiting for any of it."""
        new = {number: item for number, item in enumerate(views, 1) if item.values is None}
        encoders = {number: self._encoder(item.shape) for number, item in new.items()}
        shapes = (views[0].shape, views[1].shape)
        work = PairWork(self._cuda, size, encoders, self._wanted, shapes)
        for number, item in enumerate(views, 1):
            work.put(number, item)
        self._stages().graphs.run(work)
        for number, item in new.items():
            item.keep(size.copy_of(f'tokens_{number}'))

    def _encoded(self, tokens: DeviceTokens) -> DeviceTensor:
        """Return a view's tokens, made now where no pair needed them yet."""
        address = tokens.source.block.address
        if tokens.values is None:
            self._load_whole(ENCODER, tokens.shape, tokens.shape)
            size = self._encoder(tokens.shape)
            with self._cuda.current():
                image = size.tensor(IMAGE)
                self._cuda.copy_inside(image.block.address, address, image.port.nbytes)
                size.stages[ENCODER].queue()
                tokens.keep(size.copy_of(TOKENS))
        assert tokens.values is not None
        return tokens.values

    def _encoder(self, shape: Shape) -> StagesOfSize:
        size = self._stages().get(ENCODER, shape, shape)
        assert size is not None
        return size

    def _fetched(self, value: DeviceTensor) -> NDArray[Any]:
        """Return a copy of what lies on the card."""
        address = value.block.address
        with self._cuda.current():
            host = HostBlock(self._cuda, value.port.nbytes)
            try:
                host.fetch(address)
                self._cuda.wait_for_all()
                array: NDArray[Any] = host.view(value.port.shape, value.port.kind).copy()
                return array
            finally:
                host.close()

    def _wait(self, host: HostBlock) -> None:
        """Wait until the card is done with page-locked memory; a cancel ends the wait alone."""
        with self._cuda.current():
            while not host.is_free():
                if self._cancelled.is_set():
                    self._forget_cancel()
                    raise EngineCancelled('the tensorrt engine was cancelled while it ran')
                time.sleep(_PERIOD_S)

    def _stages(self) -> LoadedStages:
        assert self._loaded is not None
        return self._loaded

    def _is_cancelled(self) -> bool:
        return self._cancelled.is_set()

    def _drop_heads(self) -> None:
        self._stages().drop_heads()

    def _unload(self) -> None:
        self._give_back()

    def _give_back(self) -> None:
        """Free contexts, engines, TensorRT, memory and queue, in this order."""
        try:
            with self._cuda.current():
                if self._loaded is not None:
                    self._loaded.close()
                    self._store.close()
            self._cuda.close()
        except CudaError as error:  # after one error that lasts, every call fails
            _log.warning('the card did not take all memory back: %s; restart the process', error)


def _heads(outputs: Output) -> tuple[str, ...]:
    """Return the heads in the order in which their results are unpacked."""
    heads: list[str] = []
    for view, cloud in ((1, Output.CLOUD_1), (2, Output.CLOUD_2)):
        heads += [f'points_{view}'] if outputs & cloud else []
        heads += [f'descriptors_{view}'] if outputs & Output.DESC else []
    return tuple(heads)
