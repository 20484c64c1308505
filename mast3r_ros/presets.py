# SPDX-License-Identifier: Apache-2.0
"""Settings that go together, for three kinds of machine."""

from __future__ import annotations

from mast3r_ros.choices import ModelVariant, Precision
from mast3r_ros.config import MASt3RRuntimeConfig, MatchingConfig, ModelConfig

PRESET_DRONE_FAST = MASt3RRuntimeConfig(
    model=ModelConfig(variant=ModelVariant.DUNE_VIT_SMALL, resolution=336),
    matching=MatchingConfig(top_k=512),
)
"""A small network at a small size: the shortest time a pair on a robot."""

PRESET_DRONE_QUALITY = MASt3RRuntimeConfig(
    model=ModelConfig(variant=ModelVariant.DUNE_VIT_BASE, resolution=448),
    matching=MatchingConfig(top_k=2048),
)
"""A middle-sized network: better depth for robots with a stronger board."""

PRESET_DESKTOP_PRECISION = MASt3RRuntimeConfig(
    model=ModelConfig(
        variant=ModelVariant.MAST3R_VIT_LARGE, resolution=512, precision=Precision.FP32
    ),
    matching=MatchingConfig(subsample=4),
)
"""The largest network in float32 with dense matches: for a workstation."""
