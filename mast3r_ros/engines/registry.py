# SPDX-License-Identifier: Apache-2.0
"""Which engines there are, which of them can run here, and which one ``auto`` picks."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from mast3r_ros.config import BackendType, Fallback, MASt3RRuntimeConfig
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.engines.stand_in import BackgroundBuild
from mast3r_ros.errors import EngineUnavailable, ModelNotFound

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class EngineSpec:
    """Where an engine's class stands and what must be installed for it.

    :param target: ``module:Class``, imported when the engine is first used.
    :param needs: top-level modules of its libraries.
    :param extra: the pip extra that installs them.
    :param obstacle: ``module:function`` that says what else keeps it from running here, or
        returns an empty text; it imports no library.
    :param first_build: a module for engines that take minutes at their first start: ``is_needed``
        says whether they would, ``make`` takes them and tells how far it is.
    """

    target: str
    needs: tuple[str, ...] = ()
    extra: str = ''
    obstacle: str = ''
    first_build: str = ''


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine can run here; ``reason`` says why not, in words."""

    backend: BackendType
    available: bool
    reason: str = ''


# A new engine is one file and one line here.
ENGINES: dict[BackendType, EngineSpec] = {
    BackendType.COREML: EngineSpec(
        'mast3r_ros.engines.coreml_engine.engine:CoreMlEngine',
        obstacle='mast3r_ros.engines.coreml_engine.presence:coreml_obstacle',
    ),
    BackendType.TENSORRT: EngineSpec(
        'mast3r_ros.engines.tensorrt_engine.engine:TensorRtEngine',
        ('tensorrt',),
        'tensorrt',
        'mast3r_ros.engines.tensorrt_engine.presence:tensorrt_obstacle',
        'mast3r_ros.engines.tensorrt_engine.first_build',
    ),
    BackendType.CUDA: EngineSpec(
        'mast3r_ros.engines.onnxruntime_engine.engine:CudaEngine',
        ('onnxruntime',),
        'cuda',
        'mast3r_ros.engines.onnxruntime_engine.presence:cuda_obstacle',
    ),
    BackendType.OPENVINO: EngineSpec(
        'mast3r_ros.engines.openvino_engine.engine:OpenVinoEngine', ('openvino',), 'openvino'
    ),
    BackendType.ONNXRUNTIME: EngineSpec(
        'mast3r_ros.engines.onnxruntime_engine.engine:ProcessorEngine', ('onnxruntime',), 'onnx'
    ),
    BackendType.PYTORCH: EngineSpec(
        'mast3r_ros.engines.pytorch:PyTorchEngine', ('torch', 'onnx'), 'export'
    ),
    BackendType.GEOMETRIC: EngineSpec('mast3r_ros.engines.geometric.engine:GeometricEngine'),
}

# Those of auto's that run on the processor: which is fastest depends on it.
PROCESSOR_ENGINES = (BackendType.OPENVINO, BackendType.ONNXRUNTIME)

# What auto tries, fastest first. Geometry is never among them: it is no network.
AUTO_ORDER = (
    BackendType.COREML,
    BackendType.TENSORRT,
    BackendType.CUDA,
    BackendType.OPENVINO,
    BackendType.ONNXRUNTIME,
    BackendType.PYTORCH,
)


def engine_status(backend: BackendType) -> EngineStatus:
    """Say whether an engine's libraries are here, without importing them."""
    spec = ENGINES.get(backend)
    if spec is None:
        return EngineStatus(backend, False, 'this version has no such engine yet')
    missing = [name for name in spec.needs if find_spec(name) is None]
    if missing:
        names = ', '.join(missing)
        cure = f"pip install 'mast3r_ros[{spec.extra}]'"
        return EngineStatus(backend, False, f'{names} is not installed; {cure}')
    obstacle = str(_named(spec.obstacle)()) if spec.obstacle else ''
    return EngineStatus(backend, not obstacle, obstacle)


def pick_auto() -> tuple[BackendType | None, list[EngineStatus]]:
    """Return the engine that ``auto`` takes here, and why those before it were passed over."""
    passed_over: list[EngineStatus] = []
    for backend in AUTO_ORDER:
        status = engine_status(backend)
        if status.available:
            return backend, passed_over
        passed_over.append(status)
    return None, passed_over


def get_runtime(config: MASt3RRuntimeConfig | None = None) -> EngineInterface:
    """Build the engine that the settings name; use it as a context manager.

    :raises EngineUnavailable: the engine cannot run here, and no fallback is allowed.
    :raises ModelNotFound: the model is not on this machine, and no fallback is allowed.
    """
    settings = config or MASt3RRuntimeConfig()
    backend = settings.runtime.backend
    try:
        return _build_auto(settings) if backend is BackendType.AUTO else _build(backend, settings)
    except (EngineUnavailable, ModelNotFound) as error:
        if settings.runtime.fallback is not Fallback.GEOMETRIC:
            raise
        _log.warning('%s; the geometric engine runs instead, as fallback asks', error)
        engine = _build(BackendType.GEOMETRIC, settings)
        engine.instead_of = str(error)
        return engine


def get_runtime_soon(config: MASt3RRuntimeConfig | None = None) -> EngineInterface:
    """Build the engine like :func:`get_runtime`, or at once the fallback that serves meanwhile.

    Where the engine takes minutes at its first start and the settings name a fallback, that one
    is returned, and its ``successor`` is the engine.
    """
    settings = config or MASt3RRuntimeConfig()
    if settings.runtime.fallback is not Fallback.GEOMETRIC:
        return get_runtime(settings)
    backend: BackendType | None = settings.runtime.backend
    if backend is BackendType.AUTO:
        backend, _ = pick_auto()
    spec = None if backend is None else ENGINES.get(backend)
    if backend is None or spec is None or not spec.first_build:
        return get_runtime(settings)
    first_build = import_module(spec.first_build) if engine_status(backend).available else None
    if first_build is None or not first_build.is_needed(settings):
        return get_runtime(settings)
    engine = _build(BackendType.GEOMETRIC, settings)
    engine.successor = BackgroundBuild(
        engine, first_build.WHAT, lambda *progress: first_build.make(settings, *progress)
    )
    return engine


def _build_auto(config: MASt3RRuntimeConfig) -> EngineInterface:
    """Build the first engine that can run here; the model is never up to auto."""
    why_not: list[str] = []
    for backend in AUTO_ORDER:
        status = engine_status(backend)
        if not status.available:
            why_not.append(f'{backend.value}: {status.reason}')
            continue
        try:
            setting = _after_trial(backend, config)
            engine = _build(setting.runtime.backend, setting)
        except EngineUnavailable as error:
            why_not.append(f'{backend.value}: {error}')
            continue
        passed_over = f' ({"; ".join(why_not)})' if why_not else ''
        _log.info('auto chose %s%s', setting.runtime.backend.value, passed_over)
        return engine
    raise EngineUnavailable(
        f'auto finds no engine that can run a network here ({"; ".join(why_not)}); install one, '
        'or choose geometry by name with backend: geometric (--backend geometric)'
    )


def _after_trial(backend: BackendType, config: MASt3RRuntimeConfig) -> MASt3RRuntimeConfig:
    """Return the settings with an engine; where several run on the processor, the fastest."""
    here = [each for each in PROCESSOR_ENGINES if engine_status(each).available]
    if backend in here and len(here) > 1 and config.runtime.trial:
        from mast3r_ros.engines.machine_trial import fastest_setting

        fastest = fastest_setting(config, here, _build)
        if fastest is not None:
            return fastest.of(config)
    return config.replace(runtime=config.runtime.replace(backend=backend))


def _build(backend: BackendType, config: MASt3RRuntimeConfig) -> EngineInterface:
    status = engine_status(backend)
    if not status.available:
        raise EngineUnavailable(f'the {backend.value} engine cannot run: {status.reason}')
    engine: EngineInterface = _named(ENGINES[backend].target)(config)
    return engine


def _named(target: str) -> Any:
    """Import what ``module:name`` names."""
    module, _, name = target.partition(':')
    return getattr(import_module(module), name)
