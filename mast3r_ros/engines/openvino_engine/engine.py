# SPDX-License-Identifier: Apache-2.0
"""The engine that runs exported networks with OpenVINO on the processor."""

from __future__ import annotations

from typing import Any

import numpy as np

from mast3r_ros.config import BackendType, MASt3RRuntimeConfig, Precision
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.core.results import EngineInfo
from mast3r_ros.engines.network_engine import NetworkEngine, Values
from mast3r_ros.engines.openvino_engine.compiled_cache import CompiledCache
from mast3r_ros.engines.openvino_engine.model_choice import choose_model
from mast3r_ros.engines.openvino_engine.stages import CompiledStages
from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.models.description import ENCODER, Shape


class OpenVinoEngine(NetworkEngine):
    """Runs the stages of a model folder in float32, bfloat16 or whole numbers.

    What an int8 model leaves in float32 runs in bfloat16 where the processor has it.
    """

    def __init__(self, config: MASt3RRuntimeConfig | None = None) -> None:
        config = config or MASt3RRuntimeConfig()
        self._library = _openvino()
        core = self._library.Core()
        has_bf16 = 'BF16' in core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
        folder, self._precision = choose_model(config, has_bf16)
        self._num_threads = config.runtime.num_threads or usable_cores()
        super().__init__(BackendType.OPENVINO.value, config, folder)
        self.key = f'{self.key}:{self._precision.value}'  # tokens of another rounding do not fit
        in_bf16 = has_bf16 and self._precision is not Precision.FP32
        self._rest = Precision.BF16 if in_bf16 else Precision.FP32
        self._stages = CompiledStages(
            core, self._rest, self._num_threads, self.kept_sizes, self._cache(config)
        )
        self._warm_up()
        self._check_at_load(config, keep=True)

    def describe(self) -> EngineInfo:
        """Say what runs and on what."""
        model = self.folder.description
        versions = {
            'openvino': str(self._library.__version__),
            'model': f'{model.variant.value} {model.weights.sha256[:12]}',
        }
        if self._precision is Precision.INT8:
            versions['rest'] = self._rest.value
        device = f'cpu, {self._num_threads} threads'
        return EngineInfo(self._name, device, self._precision.value, versions)

    def cancel(self) -> None:
        """Make a running call raise EngineCancelled within the layer that it is in."""
        super().cancel()
        self._stages.cancel()

    def _cache(self, config: MASt3RRuntimeConfig) -> CompiledCache | None:
        if not config.runtime.compiled_cache:
            return None
        facts = (str(self._library.__version__), self.folder.description.weights.sha256)
        return CompiledCache(config.cache_folder / 'engines' / 'openvino', facts)

    def _drop_heads(self) -> None:
        self._stages.drop_heads()

    def _unload(self) -> None:
        self._stages.close()

    def _load(self, stage: str, shape_1: Shape, shape_2: Shape) -> bool:
        path = self.folder.stage_path(stage, shape_1, shape_2)
        if self._stages.get(stage, path) is not None:
            return False
        self._stages.load(stage, path)
        return True

    def _run(self, stage: str, shape_1: Shape, shape_2: Shape, values: Values) -> Values:
        ready = self._stages.get(stage, self.folder.stage_path(stage, shape_1, shape_2))
        assert ready is not None
        made = self._stages.run(ready, values, self._cancelled.is_set)
        if stage == ENCODER:  # it runs again before its tokens are used
            made = {name: np.array(value) for name, value in made.items()}
        return made


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise EngineUnavailable(
            f"openvino cannot be imported: {error}; pip install 'mast3r_ros[openvino]'"
        ) from error
    return openvino
