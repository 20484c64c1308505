# SPDX-License-Identifier: Apache-2.0
"""The engine that runs exported networks with ONNX Runtime."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.config import BackendType, CardProvider, MASt3RRuntimeConfig
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.core.results import EngineInfo
from mast3r_ros.engines.network_engine import NetworkEngine, Values
from mast3r_ros.engines.onnxruntime_engine.card_libraries import check_card_libraries
from mast3r_ros.engines.onnxruntime_engine.providers import (
    Provider,
    cuda,
    processor,
    tensorrt,
)
from mast3r_ros.engines.onnxruntime_engine.sessions import Sessions
from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.models.description import ENCODER, Shape
from mast3r_ros.models.folder import find_model


class OnnxRuntimeEngine(NetworkEngine):
    """Runs the stages of a model folder with one provider of ONNX Runtime."""

    def __init__(
        self, config: MASt3RRuntimeConfig, backend: BackendType, provider: Provider
    ) -> None:
        self._library = _onnxruntime()
        provider.check(self._library.get_available_providers())
        if not provider.is_processor:
            check_card_libraries(self._library, provider)
        self._num_threads = config.runtime.num_threads or usable_cores()
        folder = find_model(config, backend.value, provider.precisions)
        super().__init__(backend.value, config, folder, provider.place)
        provider = provider.for_weights(folder.description.weights.sha256)
        self._provider = provider
        self.replays_pairs = bool(provider.replay)
        self._sessions = Sessions(self._library, provider, self._num_threads, self.kept_sizes)
        self._run_options = self._library.RunOptions()
        self._warm_up()
        self._check_at_load(config, keep=provider.is_processor)

    def to_host(self, value: Any) -> NDArray[Any]:
        """Return a stage's output as an array in this process's memory."""
        array: NDArray[Any] = value.numpy()
        return array

    def bytes_of(self, value: Any) -> int:
        """Return the memory that a stage's output takes."""
        item_bytes = 2 if '16' in value.data_type() else 4
        return int(math.prod(value.shape())) * item_bytes

    def describe(self) -> EngineInfo:
        """Say what runs and on what."""
        device = f'cpu, {self._num_threads} threads'
        if not self._provider.is_processor:
            device = self._provider.place
        model = self.folder.description
        versions = {
            'onnxruntime': str(self._library.__version__),
            'model': f'{model.variant.value} {model.weights.sha256[:12]}',
        }
        return EngineInfo(self._name, device, model.precision.value, versions)

    def cancel(self) -> None:
        """Make a running call raise EngineCancelled within the operator that it is in."""
        super().cancel()
        self._run_options.terminate = True
        self._sessions.cancel_loading()

    def _drop_heads(self) -> None:
        self._sessions.drop_heads()

    def _unload(self) -> None:
        self._sessions.close()

    def _forget_cancel(self) -> None:
        self._run_options = self._library.RunOptions()  # the old ones may have been told to end
        super()._forget_cancel()

    def _load(self, stage: str, shape_1: Shape, shape_2: Shape) -> bool:
        path = self.folder.stage_path(stage, shape_1, shape_2)
        if self._sessions.get(stage, path) is not None:
            return False
        self._sessions.load(stage, path)
        return True

    def _run(self, stage: str, shape_1: Shape, shape_2: Shape, values: Values) -> Values:
        session = self._sessions.get(stage, self.folder.stage_path(stage, shape_1, shape_2))
        assert session is not None
        if stage == ENCODER:
            values = {name: self._as_value(array) for name, array in values.items()}
        return session.run(values, self._run_options)

    def _as_value(self, array: NDArray[Any]) -> Any:
        return self._library.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))


class ProcessorEngine(OnnxRuntimeEngine):
    """ONNX Runtime on the processor."""

    def __init__(self, config: MASt3RRuntimeConfig | None = None) -> None:
        super().__init__(config or MASt3RRuntimeConfig(), BackendType.ONNXRUNTIME, processor())


class CudaEngine(OnnxRuntimeEngine):
    """ONNX Runtime on an NVIDIA card; written after its documentation, not yet run on hardware."""

    def __init__(self, config: MASt3RRuntimeConfig | None = None) -> None:
        config = config or MASt3RRuntimeConfig()
        super().__init__(config, BackendType.CUDA, _card_provider(config))

    def describe(self) -> EngineInfo:
        """Say what runs and on what, and that nobody has seen it run there."""
        info = super().describe()
        return replace(info, versions={**info.versions, 'cuda': 'not yet run on hardware'})


def _card_provider(config: MASt3RRuntimeConfig) -> Provider:
    index = config.runtime.device
    if index < 0:
        raise EngineUnavailable(
            f'runtime.device is {index}, which asks for the processor, and the cuda engine runs '
            'on a card alone; give the index of a card, or another runtime.backend'
        )
    if config.runtime.card_provider is CardProvider.TENSORRT:
        return tensorrt(index, config.cache_folder)
    return cuda(index)


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineUnavailable(
            f"onnxruntime cannot be imported: {error}; pip install 'mast3r_ros[onnx]'"
        ) from error
    return onnxruntime
