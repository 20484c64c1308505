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
    """

    target: str
    needs: tuple[str, ...] = ()
    extra: str = ''
    obstacle: str = ''


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine can run here; ``reason`` says why not, in words."""

    backend: BackendType
    available: bool
    reason: str = ''


# A new engine is one file and one line here.
ENGINES: dict[BackendType, EngineSpec] = {
    BackendType.CUDA: EngineSpec(
        'mast3r_ros.engines.onnxruntime_engine.engine:CudaEngine',
        ('onnxruntime',),
        'cuda',
        'mast3r_ros.engines.onnxruntime_engine.presence:cuda_obstacle',
    ),
    BackendType.ONNXRUNTIME: EngineSpec(
        'mast3r_ros.engines.onnxruntime_engine.engine:ProcessorEngine', ('onnxruntime',), 'onnx'
    ),
    BackendType.PYTORCH: EngineSpec(
        'mast3r_ros.engines.pytorch:PyTorchEngine', ('torch', 'onnx'), 'export'
    ),
    BackendType.GEOMETRIC: EngineSpec('mast3r_ros.engines.geometric.engine:GeometricEngine'),
}

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


def _build_auto(config: MASt3RRuntimeConfig) -> EngineInterface:
    """Build the first engine that can run here; the model is never up to auto."""
    why_not: list[str] = []
    for backend in AUTO_ORDER:
        status = engine_status(backend)
        try:
            engine = _build(backend, config) if status.available else None
            reason = status.reason
        except EngineUnavailable as error:
            engine, reason = None, str(error)
        if engine is not None:
            passed_over = f' ({"; ".join(why_not)})' if why_not else ''
            _log.info('auto chose %s%s', backend.value, passed_over)
            return engine
        why_not.append(f'{backend.value}: {reason}')
    raise EngineUnavailable(
        f'auto finds no engine that can run a network here ({"; ".join(why_not)}); install one, '
        'or choose geometry by name with backend: geometric'
    )


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
