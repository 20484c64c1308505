# SPDX-License-Identifier: Apache-2.0
"""Made-up weights that depend on nothing but a tensor's official name, its shape and a seed.

The golden answers were recorded with such weights, so the rule must stay exactly as it is.
"""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.official_keys import official_shapes

FloatArray = NDArray[np.float32]
Shapes = dict[str, tuple[int, ...]]

_CONSTANTS = {
    'imagenet_mean': (0.485, 0.456, 0.406),
    'imagenet_std': (0.229, 0.224, 0.225),
}
_TOKENS = {'pos_embed', 'cls_token', 'register_tokens', 'mask_token'}


def seeded_tensor(key: str, shape: tuple[int, ...], seed: int) -> FloatArray:
    """Return the made-up tensor of an official name."""
    if key in _CONSTANTS:
        return np.asarray(_CONSTANTS[key], np.float32).reshape(shape)
    alias = re.search(r'scratch\.layer_rn\.(\d)', key)
    if alias:
        key = key.replace(alias[0], f'scratch.layer{int(alias[1]) + 1}_rn')
    rng = np.random.default_rng([seed, zlib.crc32(key.encode())])
    x = rng.standard_normal(shape).astype(np.float32)
    last = key.rpartition('.')[2]
    if last == 'gamma':
        return (0.3 + 0.05 * x).astype(np.float32)
    if last == 'bias':
        return (0.02 * x).astype(np.float32)
    if len(shape) == 1:
        return (1.0 + 0.1 * x).astype(np.float32)
    if last in _TOKENS:
        return (0.2 * x).astype(np.float32)
    gain = 0.1 if '.dpt.head.4.' in key else 1.0
    return (x * np.float32(gain / math.sqrt(math.prod(shape[1:])))).astype(np.float32)


def seeded_tensors(shapes: Mapping[str, tuple[int, ...]], seed: int) -> dict[str, FloatArray]:
    """Return made-up tensors of all these names; second names share their first one's storage."""
    made: dict[str, FloatArray] = {}
    for key in sorted(shapes, key=lambda name: 'layer_rn' in name):
        first = _first_name(key)
        made[key] = made[first] if first in made else seeded_tensor(key, tuple(shapes[key]), seed)
    return {key: made[key] for key in shapes}


def all_official_shapes(architecture: Architecture) -> Shapes:
    """Return all names and shapes of a whole model's state dict, second names included.

    A DUNE model is named as one whole: its encoder under ``dune_backbone.``.
    """
    return dict(_whole_model(architecture))


def seeded_state_dict(architecture: Architecture, seed: int) -> dict[str, FloatArray]:
    """Return a full made-up state dict of any architecture, the published sizes included."""
    return seeded_tensors(all_official_shapes(architecture), seed)


def _whole_model(architecture: Architecture) -> Iterator[tuple[str, tuple[int, ...]]]:
    if architecture.is_dune:
        yield from ((name, (1, 3, 1, 1)) for name in _CONSTANTS)
    for key, shape in official_shapes(architecture).items():
        name = re.sub(r'^encoder\.blocks\.', 'dune_backbone.blocks.0.', key)
        name = re.sub(r'^encoder\.', 'dune_backbone.', name)
        yield name, shape
        alias = re.search(r'scratch\.layer(\d)_rn', name)
        if alias:
            yield name.replace(alias[0], f'scratch.layer_rn.{int(alias[1]) - 1}'), shape


def _first_name(key: str) -> str:
    return re.sub(r'layer_rn\.(\d)', lambda found: f'layer{int(found[1]) + 1}_rn', key)
