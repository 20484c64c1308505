# SPDX-License-Identifier: Apache-2.0
"""Networks in PyTorch with seeded weights, run from pictures to raw heads or finished answers."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from support.seeded_weights import seeded_state_dict, seeded_tensors
from support.tiny_model import GoldenCase

from mast3r_ros.core import postprocess
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.networks.loading import load_weights
from mast3r_ros.models.networks.stages import Stages, build_stages

Arrays = dict[str, NDArray[Any]]

# Small, with every kind of layer.
MAST3R = Architecture('mast3r', 16, 64, 2, 2, 48, 4, 3, 'dpt', 24)
DUNE = Architecture('dune', 14, 64, 2, 2, 48, 4, 3, 'dpt', 24, registers=4, position_side=6)
DUST3R_LINEAR = Architecture('dust3r', 16, 64, 2, 2, 48, 4, 3, 'linear', 0)
SMALL = {'mast3r': MAST3R, 'dune': DUNE, 'dust3r_linear': DUST3R_LINEAR}


def as_tensors(arrays: Mapping[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    """Return tensors that share the arrays' memory."""
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def seeded_weights(architecture: Architecture) -> dict[str, torch.Tensor]:
    """Return made-up weights; the tensors are shared by all who ask, the dict is not."""
    return dict(_made_weights(architecture))


@functools.cache
def _made_weights(architecture: Architecture) -> dict[str, torch.Tensor]:
    return as_tensors(seeded_state_dict(architecture, seed=3))


def golden_stages(case: GoldenCase) -> Stages:
    """Return the network of a golden case."""
    stages = build_stages(case.architecture, *case.shapes)
    shapes = {key: tuple(shape) for key, shape in case.facts['keys'].items()}
    load_weights(stages, as_tensors(seeded_tensors(shapes, case.facts['seed'])))
    return stages


def seeded_stages(
    architecture: Architecture, shape_1: tuple[int, int], shape_2: tuple[int, int] | None = None
) -> Stages:
    """Return a network with made-up weights."""
    stages = build_stages(architecture, shape_1, shape_2 or shape_1)
    load_weights(stages, _made_weights(architecture))
    return stages


def picture(shape: tuple[int, int], seed: int = 0, batch: int = 1) -> torch.Tensor:
    """Return random pictures (batch, H, W, 3)."""
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.integers(0, 256, (batch, *shape, 3), dtype=np.uint8))


def inputs_of(stages: Stages, image_1: Any, image_2: Any) -> dict[str, tuple[torch.Tensor, ...]]:
    """Return what every stage of a pair gets."""
    tokens_1, tokens_2 = stages.encoder_1(image_1), stages.encoder_2(image_2)
    hooks = stages.decoder(tokens_1, tokens_2)
    half = len(hooks) // 2
    hooks_1, hooks_2 = hooks[:half], hooks[half:]
    linear = stages.architecture.head == 'linear'
    return {
        'encoder_1': (image_1,),
        'encoder_2': (image_2,),
        'decoder': (tokens_1, tokens_2),
        'points_1': hooks_1 if linear else (tokens_1, *hooks_1),
        'points_2': hooks_2 if linear else (tokens_2, *hooks_2),
        'descriptors_1': (tokens_1, hooks_1[-1]),
        'descriptors_2': (tokens_2, hooks_2[-1]),
    }


@torch.inference_mode()
def run_raw(stages: Stages, image_1: torch.Tensor, image_2: torch.Tensor) -> Arrays:
    """Return the encoders' tokens and the raw heads of a pair, without the batch."""
    inputs = inputs_of(stages, image_1, image_2)
    answers = {'feat_1': inputs['decoder'][0][0].float().numpy()}
    for name, stage in stages.named().items():
        if name.startswith(('points', 'descriptors')):
            answers[name] = stage(*inputs[name])[0].numpy()
    return answers


def run_finished(stages: Stages, image_1: torch.Tensor, image_2: torch.Tensor) -> Arrays:
    """Return the tokens of view 1 and the answers of a pair, named as those of a result."""
    raw = run_raw(stages, image_1, image_2)
    answers = {'feat_1': raw['feat_1']}
    for view in (1, 2):
        cloud = postprocess.points(raw[f'points_{view}'])
        answers[f'pts3d_{view}'], answers[f'conf_{view}'] = cloud
        if f'descriptors_{view}' in raw:
            found = postprocess.descriptors(raw[f'descriptors_{view}'])
            answers[f'desc_{view}'], answers[f'desc_conf_{view}'] = found
    return answers


def relative_error(answer: Any, expected: Any) -> float:
    """Return the norm of the difference over the norm of what was expected."""
    exact = np.asarray(expected, np.float64)
    assert np.shape(answer) == exact.shape
    return float(np.linalg.norm(np.asarray(answer, np.float64) - exact) / np.linalg.norm(exact))
