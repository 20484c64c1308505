# SPDX-License-Identifier: Apache-2.0
"""Which engines there are, which of them can run here, and which one ``auto`` picks."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

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
    """

    target: str
    needs: tuple[str, ...] = ()
    extra: str = ''


@dataclass(frozen=True)
class EngineStatus:
    """Whether an engine can run here; ``reason`` says why not, in words."""

    backend: BackendType
    available: bool
    reason: str = ''


# A new engine is one file and one line here.
ENGINES: dict[BackendType, EngineSpec] = {
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
    return EngineStatus(backend, True)


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
    try:
        return _build(_resolve(settings.runtime.backend), settings)
    except (EngineUnavailable, ModelNotFound) as error:
        if settings.runtime.fallback is not Fallback.GEOMETRIC:
            raise
        _log.warning('%s; the geometric engine runs instead, as fallback asks', error)
        return _build(BackendType.GEOMETRIC, settings)


def _resolve(backend: BackendType) -> BackendType:
    if backend is not BackendType.AUTO:
        return backend
    chosen, passed_over = pick_auto()
    why_not = '; '.join(f'{status.backend.value}: {status.reason}' for status in passed_over)
    if chosen is None:
        raise EngineUnavailable(
            f'auto finds no engine that can run a network here ({why_not}); install one, or '
            'choose geometry by name with backend: geometric'
        )
    _log.info('auto chose %s%s', chosen.value, f' ({why_not})' if why_not else '')
    return chosen


def _build(backend: BackendType, config: MASt3RRuntimeConfig) -> EngineInterface:
    status = engine_status(backend)
    if not status.available:
        raise EngineUnavailable(f'the {backend.value} engine cannot run: {status.reason}')
    module, _, name = ENGINES[backend].target.partition(':')
    engine_class = getattr(import_module(module), name)
    engine: EngineInterface = engine_class(config)
    return engine
