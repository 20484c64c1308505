# SPDX-License-Identifier: Apache-2.0
"""Which model ``mast3r-export --target`` makes something of: one that is there already."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from mast3r_ros.choices import BackendType, Precision

if TYPE_CHECKING:
    from mast3r_ros.config import MASt3RRuntimeConfig


def target_settings(
    arguments: argparse.Namespace, backend: BackendType, device: int = 0
) -> MASt3RRuntimeConfig:
    """Return the settings with which the engine of a target opens the model."""
    from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, RuntimeConfig

    model: dict[str, Any] = {'precision': arguments.precision or Precision.AUTO}
    if arguments.variant is not None:
        model['variant'] = arguments.variant
    if arguments.output is not None:
        model['path'] = arguments.output
    return MASt3RRuntimeConfig(
        model=ModelConfig(**model),
        runtime=RuntimeConfig(backend=backend, device=device),
        cache_dir=arguments.cache_dir,
    )
