# SPDX-License-Identifier: Apache-2.0
"""The minutes of TensorRT's first start, apart from the start itself."""

from __future__ import annotations

from collections.abc import Callable

from mast3r_ros.config import MASt3RRuntimeConfig
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.engines.tensorrt_engine.builder import BuildSettings, Tell
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine
from mast3r_ros.engines.tensorrt_engine.opening import building_store, needed_stages
from mast3r_ros.errors import Mast3rError

WHAT = 'TensorRT builds its engines for this card'


def is_needed(config: MASt3RRuntimeConfig) -> bool:
    """Return whether the engine would have to be built first; False where it cannot run at all."""
    try:
        with building_store(config, BuildSettings()) as store:
            return bool(store.missing(needed_stages(store.model, config.model)))
    except Mast3rError:
        return False  # the start itself says why


def make(
    config: MASt3RRuntimeConfig, tell: Tell, is_stopped: Callable[[], bool]
) -> EngineInterface:
    """Build what is missing and start the engine."""
    with building_store(config, BuildSettings(), is_stopped) as store:
        store.build_missing(needed_stages(store.model, config.model), tell)
    return TensorRtEngine(config)
