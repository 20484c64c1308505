# SPDX-License-Identifier: Apache-2.0
"""What a start of TensorRT needs: the library, the card, and the store of a model's engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mast3r_ros.config import BackendType, MASt3RRuntimeConfig, ModelConfig, Precision
from mast3r_ros.engines.network_size import first_shape
from mast3r_ros.engines.tensorrt_engine.builder import BuildSettings, EngineBuilder
from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaAccess, open_cuda
from mast3r_ros.engines.tensorrt_engine.engine_files import EngineFiles
from mast3r_ros.engines.tensorrt_engine.log import TensorRtLog
from mast3r_ros.engines.tensorrt_engine.store import EngineStore, Wanted, all_stages
from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.models.folder import ModelFolder, find_model

_HAS_BF16 = (8, 0)  # compute capability


def needed_stages(folder: ModelFolder, model: ModelConfig) -> list[Wanted]:
    """Return every stage that pairs of the settings can need."""
    shape = first_shape(folder, model)
    return all_stages(folder, None if shape is None else [shape])


@contextmanager
def building_store(
    config: MASt3RRuntimeConfig,
    settings: BuildSettings,
    is_stopped: Callable[[], bool] | None = None,
) -> Iterator[EngineStore]:
    """Give the store of the settings' model and card, to build engines ahead of their use."""
    library = tensorrt_library()
    cuda = open_card(config)
    try:
        model = find_model(config, BackendType.TENSORRT.value, precisions_of(cuda))
        with cuda.current():
            store = engine_store(
                config, library, TensorRtLog(library), cuda, model, is_stopped, settings
            )
            try:
                yield store
            finally:
                store.close()
    finally:
        cuda.close()


def engine_store(
    config: MASt3RRuntimeConfig,
    library: Any,
    log: TensorRtLog,
    cuda: CudaAccess,
    model: ModelFolder,
    is_cancelled: Callable[[], bool] | None = None,
    settings: BuildSettings | None = None,
) -> EngineStore:
    """Return the store of a model's engines on a card."""
    ask = is_cancelled or (lambda: False)
    files = EngineFiles(config.cache_folder, model, cuda.card, str(library.__version__))
    precision = model.description.precision
    builder = EngineBuilder(library, log, precision, settings or BuildSettings(), ask)
    return EngineStore(library, log, model, files, builder, ask)


def open_card(config: MASt3RRuntimeConfig) -> CudaAccess:
    """Return access to the card of the settings."""
    index = config.runtime.device
    if index < 0:
        raise EngineUnavailable(
            f'runtime.device is {index}, which asks for the processor, and the tensorrt engine '
            'runs on a card alone; give the index of a card, or another runtime.backend'
        )
    return open_cuda(index)


def precisions_of(cuda: CudaAccess) -> tuple[Precision, ...]:
    """Return what a card runs, best first; eight bits were no faster there than float16."""
    if cuda.card.capability >= _HAS_BF16:
        return (Precision.FP16, Precision.BF16, Precision.FP32, Precision.INT8_FP16)
    return (Precision.FP16, Precision.FP32, Precision.INT8_FP16)


def tensorrt_library() -> Any:
    """Import TensorRT, of a version that this engine is written for."""
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        raise EngineUnavailable(
            f'tensorrt cannot be imported: {error}; on a Jetson it comes with JetPack, elsewhere '
            "pip install 'mast3r_ros[tensorrt]'"
        ) from error
    version = str(getattr(tensorrt, '__version__', '0'))
    major, minor = (int(part) for part in [*version.split('.'), '0'][:2])
    if (major, minor) < (10, 3):
        raise EngineUnavailable(
            f'TensorRT is {version} and 10.3 or newer is needed; on a Jetson JetPack 6.1 has it'
        )
    return tensorrt
