# SPDX-License-Identifier: Apache-2.0
"""How much a network has to compute for a pair, counted from its dimensions."""

from __future__ import annotations

from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.description import Shape
from mast3r_ros.models.official_keys import (
    CLOUD_CHANNELS,
    FEATURE_DIM,
    LAST_DIM,
    LEVEL_DIMS,
    MLP_RATIO,
)

_OPERATIONS = 2  # a multiplication and an addition
_CONVOLUTIONS = 9  # places of a 3x3 one


def pair_work(architecture: Architecture, shape_1: Shape, shape_2: Shape) -> dict[str, int]:
    """Return the floating-point operations of each stage for a pair, both views together.

    Counted are matrix products and convolutions, as everybody counts; the rest is little.

    :return: by the names of the timings: encode, decoder, points, descriptors.
    """
    shapes = (shape_1, shape_2)
    work = {
        'encode': sum(_encoder(architecture, shape) for shape in shapes),
        'decoder': _decoder(architecture, *(_tokens(architecture, shape) for shape in shapes)),
        'points': sum(_points(architecture, shape) for shape in shapes),
    }
    if architecture.desc_dim:
        work['descriptors'] = sum(_descriptors(architecture, shape) for shape in shapes)
    return {stage: _OPERATIONS * count for stage, count in work.items()}


def _tokens(architecture: Architecture, shape: Shape) -> int:
    rows, columns = architecture.token_grid(*shape)
    return rows * columns


def _encoder(architecture: Architecture, shape: Shape) -> int:
    dim, patches = architecture.enc_dim, _tokens(architecture, shape)
    tokens = patches + (1 + architecture.registers if architecture.is_dune else 0)
    block = (4 + 2 * MLP_RATIO) * tokens * dim**2 + 2 * tokens**2 * dim
    return patches * 3 * architecture.patch_px**2 * dim + architecture.enc_depth * block


def _decoder(architecture: Architecture, tokens_1: int, tokens_2: int) -> int:
    """Every view has its own blocks, whose keys and values come from the other one too."""
    dim, work = architecture.dec_dim, 0
    for own, other in ((tokens_1, tokens_2), (tokens_2, tokens_1)):
        products = (6 + 2 * MLP_RATIO) * own * dim**2 + 2 * other * dim**2
        attention = 2 * own**2 * dim + 2 * own * other * dim
        embedding = own * architecture.enc_dim * dim
        work += embedding + architecture.dec_depth * (products + attention)
    return work


def _points(architecture: Architecture, shape: Shape) -> int:
    tokens, dim = _tokens(architecture, shape), architecture.dec_dim
    if architecture.head == 'linear':
        return tokens * dim * CLOUD_CHANNELS * architecture.patch_px**2
    rows, columns = architecture.token_grid(*shape)
    half = ((rows + 1) // 2) * ((columns + 1) // 2)
    pixels = (16 * tokens, 4 * tokens, tokens, half)
    first, second, third, last = LEVEL_DIMS
    work = tokens * (architecture.enc_dim * first + first * first * 16)
    work += tokens * (dim * second + second * second * 4)
    work += tokens * dim * (third + last) + half * last**2 * _CONVOLUTIONS
    for level, (count, channels) in enumerate(zip(pixels, LEVEL_DIMS, strict=True)):
        convolutions = 2 if level == 3 else 4  # the coarsest has nothing to join
        work += count * FEATURE_DIM * channels * _CONVOLUTIONS
        work += count * FEATURE_DIM**2 * (convolutions * _CONVOLUTIONS + 1)
    work += 64 * tokens * FEATURE_DIM * LAST_DIM * _CONVOLUTIONS
    outer = shape[0] * shape[1]
    return work + outer * (LAST_DIM**2 * _CONVOLUTIONS + LAST_DIM * CLOUD_CHANNELS)


def _descriptors(architecture: Architecture, shape: Shape) -> int:
    dim = architecture.enc_dim + architecture.dec_dim
    answers = (architecture.desc_dim + 1) * architecture.patch_px**2
    return _tokens(architecture, shape) * MLP_RATIO * dim * (dim + answers)
