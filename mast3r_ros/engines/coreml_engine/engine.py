# SPDX-License-Identifier: Apache-2.0
"""The engine that runs converted networks with Core ML; written after its documentation.

It was driven through a stand-in that computes the packages' own programs, and not yet run on
hardware.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mast3r_ros.choices import ComputeUnits
from mast3r_ros.config import BackendType, MASt3RRuntimeConfig
from mast3r_ros.core.results import EngineInfo
from mast3r_ros.engines.coreml_engine.compiled import CompiledStages
from mast3r_ros.engines.coreml_engine.presence import coreml_obstacle
from mast3r_ros.engines.network_engine import NetworkEngine, Values
from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.models.coreml_packages import (
    FOLDER,
    PRECISIONS,
    Package,
    open_packages,
)
from mast3r_ros.models.description import Shape
from mast3r_ros.models.folder import find_model


class CoreMlEngine(NetworkEngine):
    """Runs the stages of a model folder that was converted for Core ML.

    A stage that runs cannot be interrupted: a cancel counts before the next one.
    """

    def __init__(self, config: MASt3RRuntimeConfig | None = None) -> None:
        config = config or MASt3RRuntimeConfig()
        obstacle = coreml_obstacle()
        if obstacle:
            raise EngineUnavailable(f'the coreml engine cannot run: {obstacle}')
        self._library = _coremltools()
        folder = find_model(config, BackendType.COREML.value, PRECISIONS)
        index = self._index = open_packages(folder)
        on_processor = config.runtime.device < 0
        self._units = ComputeUnits.CPU_ONLY if on_processor else index.compute_units
        super().__init__(BackendType.COREML.value, config, folder, self._units.value)
        self._stages = CompiledStages(
            self._library, config.cache_folder, index.weights, self._units, self.kept_sizes
        )
        self._warm_up()
        self._check_at_load(config, keep=False)

    def describe(self) -> EngineInfo:
        """Say what runs and on what, and that nobody has seen it run there."""
        model = self.folder.description
        versions = {
            'coremltools': str(self._library.__version__),
            'model': f'{model.variant.value} {model.weights.sha256[:12]}',
            'state': 'not yet run on hardware',
        }
        return EngineInfo(self._name, self._units.value, model.precision.value, versions)

    def _drop_heads(self) -> None:
        self._stages.drop_heads()

    def _unload(self) -> None:
        self._stages.close()

    def _load(self, stage: str, shape_1: Shape, shape_2: Shape) -> bool:
        package = self._package(stage, shape_1, shape_2)
        if self._stages.get(stage, package) is not None:
            return False
        self._stages.load(stage, package)
        return True

    def _run(self, stage: str, shape_1: Shape, shape_2: Shape, values: Values) -> Values:
        package = self._package(stage, shape_1, shape_2)
        ready = self._stages.get(stage, package)
        assert ready is not None
        return ready.run(values, self._index.inputs.get(stage, ()))

    def _package(self, stage: str, shape_1: Shape, shape_2: Shape) -> Path:
        return self.folder.path / FOLDER / Package(stage, shape_1, shape_2).name


def _coremltools() -> Any:
    try:
        import coremltools
    except ImportError as error:
        raise EngineUnavailable(
            f"coremltools cannot be imported: {error}; pip install 'mast3r_ros[coreml]'"
        ) from error
    return coremltools
