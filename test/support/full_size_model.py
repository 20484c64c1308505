# SPDX-License-Identifier: Apache-2.0
"""Networks of the published dimensions with made-up weights, for timing."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from published_pair import PublishedPair
from seeded_weights import seeded_state_dict
from tiny_model import Network, exported

from mast3r_ros.config import ModelVariant, Precision
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.description import Shape

_SEED = 5
_DUNE_SMALL = Architecture(
    family='dune',
    patch_px=14,
    enc_dim=384,
    enc_depth=12,
    enc_heads=6,
    dec_dim=768,
    dec_depth=12,
    dec_heads=12,
    head='dpt',
    desc_dim=24,
    position_side=32,
)
_NETWORKS = {
    'dune_small': (_DUNE_SMALL, ModelVariant.DUNE_VIT_SMALL),
    'dune_base': (replace(_DUNE_SMALL, enc_dim=768, enc_heads=12), ModelVariant.DUNE_VIT_BASE),
    'mast3r_large': (
        Architecture('mast3r', 16, 1024, 24, 16, 768, 12, 12, 'dpt', 24),
        ModelVariant.MAST3R_VIT_LARGE,
    ),
}


def full_size_model(
    name: str,
    shape: Shape,
    precision: Precision = Precision.FP32,
    calibrated: bool = False,
    *,
    smaller: Shape | None = None,
) -> Path:
    """Return the model folder of ``dune_small`` (1.4 GB), ``dune_base`` or ``mast3r_large``.

    :param smaller: a second size.
    """
    architecture, variant = _NETWORKS[name]
    network = Network(name, architecture, variant, partial(seeded_state_dict, architecture, _SEED))
    sizes = [(item, item) for item in (shape, smaller) if item is not None]
    return exported(network, sizes, precision, calibrated)


def full_size_architecture(name: str) -> Architecture:
    """Return the dimensions of a network."""
    return _NETWORKS[name][0]


def full_size_pair(name: str) -> PublishedPair:
    """Return the same network with the same weights, as it is published."""
    architecture = full_size_architecture(name)
    return PublishedPair(architecture, seeded_state_dict(architecture, _SEED))
