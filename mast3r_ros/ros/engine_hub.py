# SPDX-License-Identifier: Apache-2.0
"""Engines shared by the nodes of one process: the same settings give the same worker."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from mast3r_ros.config import MASt3RRuntimeConfig, MatchingConfig
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.core.worker_state import GONE
from mast3r_ros.engines.registry import get_runtime_soon

EngineFactory = Callable[[MASt3RRuntimeConfig], EngineInterface]


@dataclass
class _Shared:
    worker: EngineWorker
    users: int = 0


class EngineHub:
    """Hands out running workers and closes each when its last user has gone.

    :param make_engine: builds an engine; tests put their own in.
    """

    def __init__(self, make_engine: EngineFactory = get_runtime_soon) -> None:
        self._make_engine = make_engine
        self._shared: dict[str, _Shared] = {}
        self._lock = threading.Lock()

    def acquire(self, config: MASt3RRuntimeConfig) -> EngineWorker:
        """Return the worker for these settings; it loads in the background."""
        with self._lock:
            key = _key(config)
            shared = self._shared.get(key)
            if shared is None or shared.worker.state in GONE:
                worker = EngineWorker(
                    lambda: self._make_engine(config),
                    call_timeout_s=config.runtime.call_timeout_s,
                    features_memory_mb=config.runtime.features_memory_mb,
                )
                shared = self._shared[key] = _Shared(worker.start())
            shared.users += 1
            return shared.worker

    def release(self, worker: EngineWorker, timeout_s: float = 0.5) -> bool:
        """Give a worker back; False when it was the last user and its thread does not end."""
        with self._lock:
            for key, shared in list(self._shared.items()):
                if shared.worker is worker:
                    shared.users -= 1
                    if shared.users > 0:
                        return True
                    del self._shared[key]
        return worker.close(timeout_s)


def _key(config: MASt3RRuntimeConfig) -> str:
    """Name what an engine is made from; matching is each user's own."""
    return MASt3RRuntimeConfig(
        model=config.model,
        runtime=config.runtime,
        matching=MatchingConfig(),
        cache_dir=config.cache_dir,
    ).to_yaml()
