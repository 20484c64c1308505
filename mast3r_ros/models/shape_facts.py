# SPDX-License-Identifier: Apache-2.0
"""What the shapes of a file's tensors say about its network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from mast3r_ros.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
HEAD_CHANNELS = 64  # of one attention head in every published network
_DUNE_DECODER = 'mast3r.'


@dataclass(frozen=True)
class EncoderFacts:
    """What the shapes of a DUNE encoder say.

    :param position_side: tokens along a side of the stored position grid.
    :param registers: extra tokens, 0 where the file has none.
    """

    dim: int
    depth: int
    patch_px: int
    position_side: int
    registers: int

    @property
    def trained_px(self) -> int:
        """Side of the images it was made for."""
        return self.position_side * self.patch_px


@dataclass(frozen=True)
class NetworkFacts:
    """What the shapes of a MASt3R, DUSt3R or DUNE decoder file say.

    :param family: ``mast3r``, ``dust3r`` or ``dune`` (the encoder lies in a file of its own).
    """

    family: str
    patch_px: int
    enc_dim: int
    enc_depth: int
    dec_dim: int
    dec_depth: int
    head: str
    desc_dim: int


def network_facts(shapes: Shapes) -> NetworkFacts:
    """Return the facts about a file that has a decoder.

    :raises CheckpointError: if it is of another family, saying by what that was seen.
    """
    is_dune = any(name.startswith(_DUNE_DECODER) for name in shapes)
    plain = {name.removeprefix(_DUNE_DECODER): shape for name, shape in shapes.items()}
    _check_family(plain)
    dec_dim, enc_dim = _sides(plain, 'decoder_embed.weight', 2)
    enc_depth = _depth(plain, 'enc_blocks')
    patch_px = _sides(plain, 'patch_embed.proj.weight', 4)[-1]
    fc2 = plain.get('downstream_head1.head_local_features.fc2.weight', (0,))
    desc_dim = max(fc2[0] // patch_px**2 - 1, 0)  # the last channel is its confidence
    head = 'linear' if 'downstream_head1.proj.weight' in plain else 'dpt'
    family = 'dune' if is_dune else ('mast3r' if desc_dim else 'dust3r')
    dec_depth = _depth(plain, 'dec_blocks')
    return NetworkFacts(family, patch_px, enc_dim, enc_depth, dec_dim, dec_depth, head, desc_dim)


def encoder_facts(shapes: Shapes) -> EncoderFacts:
    """Return the facts about a DUNE encoder.

    :raises CheckpointError: if the shapes are those of nothing like it.
    """
    dim, _, patch_px, _ = _sides(shapes, 'patch_embed.proj.weight', 4)
    _, positions, position_dim = _sides(shapes, 'pos_embed', 3)
    side = math.isqrt(max(positions - 1, 0))
    if side < 1 or side * side != positions - 1 or position_dim != dim:
        raise CheckpointError(
            f'its pos_embed of shape {list(shapes["pos_embed"])} is no square grid of positions '
            f'for tokens of {dim} channels'
        )
    registers = 0
    if 'register_tokens' in shapes:
        registers = _sides(shapes, 'register_tokens', 3)[1]
    if 'blocks.0.ls1.gamma' not in shapes:
        raise CheckpointError('it is a vision transformer without layer scale, so not of DUNE')
    return EncoderFacts(dim, _depth(shapes, 'blocks'), patch_px, side, registers)


def _check_family(shapes: Shapes) -> None:
    if 'decoder_embed.weight' in shapes and 'downstream_head1.proj.weight' not in shapes:
        if 'prediction_head.weight' in shapes:
            raise CheckpointError('it is a CroCo pre-training, which has no head for points')
        if not any(name.startswith('downstream_head1.dpt.') for name in shapes):
            raise CheckpointError('it has a decoder but no head for points')
    if 'decoder_embed.weight' not in shapes or 'dec_blocks.0.norm1.weight' not in shapes:
        shown = ', '.join(sorted(shapes)[:3])
        raise CheckpointError(
            f'it is no network of the MASt3R family; its tensors are {shown}, ...'
        )
    if not any(name.startswith('dec_blocks2.') for name in shapes):
        raise CheckpointError(
            'it has a decoder for one view only, as a start for training has; use the published '
            'file'
        )


def _sides(shapes: Shapes, name: str, axes: int) -> tuple[int, ...]:
    shape = shapes.get(name)
    if shape is None:
        raise CheckpointError(f'it lacks {name}')
    if len(shape) != axes:
        raise CheckpointError(f'its {name} has the shape {list(shape)}, which has no {axes} axes')
    return shape


def _depth(shapes: Shapes, blocks: str) -> int:
    """Return the number of blocks; a gap shows up when the single names are compared."""
    numbers = {
        name[len(blocks) + 1 :].partition('.')[0]
        for name in shapes
        if name.startswith(f'{blocks}.')
    }
    return len(numbers)
