# SPDX-License-Identifier: Apache-2.0
"""The tensors that a published checkpoint of an architecture holds, by name and shape.

DUNE models are named as their two files together: the encoder's under ``encoder.``, the decoder's
as they are (``norm.``, ``mast3r.``). Other spellings of the same tensors are understood too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from mast3r_ros.models.architecture import Architecture

Shapes = dict[str, tuple[int, ...]]

FEATURE_DIM = 256  # channels inside the DPT head
LAST_DIM = 128
LEVEL_DIMS = (96, 192, 384, 768)
CLOUD_CHANNELS = 4  # x y z confidence
MLP_RATIO = 4

# `scratch.layer_rn.0` is a second name of `scratch.layer1_rn`.
_ALIAS = re.compile(r'\bscratch\.layer_rn\.([0-3])\.')
# Some files group the encoder's blocks in chunks, of which there is one.
_CHUNK = re.compile(r'^encoder\.blocks\.0\.(?=\d)')
_UNUSED = re.compile(r'^(mask_token|imagenet_(mean|std)|.*\.refinenet4\.resConfUnit1\..*)$')
_UNUSED_OF_DUNE = re.compile(r'^(patch_embed\.|enc_norm\.|encoder\.(norm\.|mask_token$))')


def parameter_name(key: str) -> str:
    """Return the one name under which a tensor of a checkpoint is known inside this package."""
    name = key.removeprefix('mast3r.').replace('dune_backbone.', 'encoder.', 1)
    name = _CHUNK.sub('encoder.blocks.', name)
    return _ALIAS.sub(lambda found: f'scratch.layer{int(found[1]) + 1}_rn.', name)


def is_unused(key: str, architecture: Architecture) -> bool:
    """Return whether published files hold this tensor though no answer depends on it."""
    name = parameter_name(key)
    return bool(_UNUSED.match(name) or (architecture.is_dune and _UNUSED_OF_DUNE.match(name)))


def official_shapes(architecture: Architecture) -> Shapes:
    """Return every tensor of the published file or files, the unused ones included."""
    if not architecture.is_dune:
        return _main_shapes(architecture, architecture.enc_depth)
    shapes = _dune_encoder_shapes(architecture)
    shapes |= _norm('norm', architecture.enc_dim)
    main = _main_shapes(architecture, 0)
    return shapes | {f'mast3r.{name}': shape for name, shape in main.items()}


def _main_shapes(architecture: Architecture, enc_depth: int) -> Shapes:
    enc, dec, patch = architecture.enc_dim, architecture.dec_dim, architecture.patch_px
    shapes: Shapes = {'mask_token': (1, 1, dec)}
    shapes |= _layer('patch_embed.proj', (enc, 3, patch, patch))
    for index in range(enc_depth):
        shapes |= _encoder_block(f'enc_blocks.{index}', enc)
    shapes |= _norm('enc_norm', enc) | _layer('decoder_embed', (dec, enc))
    for blocks in ('dec_blocks', 'dec_blocks2'):
        for index in range(architecture.dec_depth):
            shapes |= _decoder_block(f'{blocks}.{index}', dec)
    shapes |= _norm('dec_norm', dec)
    for view in (1, 2):
        shapes |= _prefixed(f'downstream_head{view}', _head(architecture))
    return shapes


def _dune_encoder_shapes(architecture: Architecture) -> Shapes:
    dim, patch = architecture.enc_dim, architecture.patch_px
    shapes: Shapes = {
        'cls_token': (1, 1, dim),
        'pos_embed': (1, 1 + architecture.position_side**2, dim),
        'mask_token': (1, dim),
    }
    if architecture.registers:
        shapes['register_tokens'] = (1, architecture.registers, dim)
    shapes |= _layer('patch_embed.proj', (dim, 3, patch, patch)) | _norm('norm', dim)
    for index in range(architecture.enc_depth):
        block = f'blocks.{index}'
        shapes |= _encoder_block(block, dim)
        shapes |= {f'{block}.ls1.gamma': (dim,), f'{block}.ls2.gamma': (dim,)}
    return _prefixed('encoder', shapes)


def _encoder_block(name: str, dim: int) -> Shapes:
    shapes = _norm('norm1', dim) | _norm('norm2', dim) | _self_attention(dim) | _mlp('mlp', dim)
    return _prefixed(name, shapes)


def _decoder_block(name: str, dim: int) -> Shapes:
    shapes = _encoder_block('', dim) | _norm('norm3', dim) | _norm('norm_y', dim)
    for part in ('projq', 'projk', 'projv', 'proj'):
        shapes |= _layer(f'cross_attn.{part}', (dim, dim))
    return _prefixed(name, shapes)


def _self_attention(dim: int) -> Shapes:
    return _layer('attn.qkv', (3 * dim, dim)) | _layer('attn.proj', (dim, dim))


def _mlp(name: str, dim: int, out: int | None = None) -> Shapes:
    hidden = MLP_RATIO * dim
    return _layer(f'{name}.fc1', (hidden, dim)) | _layer(f'{name}.fc2', (out or dim, hidden))


def _head(architecture: Architecture) -> Shapes:
    patch = architecture.patch_px**2
    if architecture.head == 'linear':
        return _layer('proj', (CLOUD_CHANNELS * patch, architecture.dec_dim))
    shapes = _prefixed('dpt', _dpt(architecture.enc_dim, architecture.dec_dim))
    if architecture.desc_dim:
        tokens = architecture.enc_dim + architecture.dec_dim
        shapes |= _mlp('head_local_features', tokens, (architecture.desc_dim + 1) * patch)
    return shapes


def _dpt(enc_dim: int, dec_dim: int) -> Shapes:
    shapes: Shapes = {}
    for level, (tokens, dim) in enumerate(zip((enc_dim, *[dec_dim] * 3), LEVEL_DIMS, strict=True)):
        shapes |= _layer(f'act_postprocess.{level}.0', (dim, tokens, 1, 1))
        side = (4, 2, 0, 3)[level]
        if side:
            shapes |= _layer(f'act_postprocess.{level}.1', (dim, dim, side, side))
        shapes[f'scratch.layer{level + 1}_rn.weight'] = (FEATURE_DIM, dim, 3, 3)
        fusion = f'scratch.refinenet{level + 1}'
        shapes |= _layer(f'{fusion}.out_conv', (FEATURE_DIM, FEATURE_DIM, 1, 1))
        for unit in ('resConfUnit1.conv1', 'resConfUnit1.conv2'):
            for name in (unit, unit.replace('Unit1', 'Unit2')):
                shapes |= _layer(f'{fusion}.{name}', (FEATURE_DIM, FEATURE_DIM, 3, 3))
    shapes |= _layer('head.0', (LAST_DIM, FEATURE_DIM, 3, 3))
    shapes |= _layer('head.2', (LAST_DIM, LAST_DIM, 3, 3))
    return shapes | _layer('head.4', (CLOUD_CHANNELS, LAST_DIM, 1, 1))


def _layer(name: str, weight: Iterable[int]) -> Shapes:
    shape = tuple(weight)
    return {f'{name}.weight': shape, f'{name}.bias': shape[:1]}


def _norm(name: str, dim: int) -> Shapes:
    return _layer(name, (dim,))


def _prefixed(prefix: str, shapes: Shapes) -> Shapes:
    return {f'{prefix}.{name}'.lstrip('.'): shape for name, shape in shapes.items()}
