# SPDX-License-Identifier: Apache-2.0
"""Where the weights stand in what a training saved, under the names that they were published by.

Works on outlines and on tensors alike: it looks at names only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mast3r_ros.errors import CheckpointError

_HOLDERS = ('model', 'state_dict', 'model_state_dict')  # of plain PyTorch, Lightning and others
_WRAPPER = re.compile(r'(?<![^.])(module|_orig_mod)\.')  # data-parallel and torch.compile
_ALIAS = re.compile(r'\bscratch\.layer_rn\.([0-3])\.')
_CHUNK = re.compile(r'^blocks\.0\.(?=\d+\.)')  # DINOv2 groups its blocks; here in one group
_ENCODER = 'encoder.'
_MAX_WRAPPINGS = 3
_ROOTS = frozenset(
    (
        *('mask_token', 'patch_embed', 'enc_blocks', 'enc_norm', 'decoder_embed', 'dec_blocks'),
        *('dec_blocks2', 'dec_norm', 'downstream_head1', 'downstream_head2'),
        *('mast3r', 'norm', 'dune_backbone'),
        *('encoder', 'cls_token', 'pos_embed', 'register_tokens', 'blocks'),
    )
)

Names = dict[str, list[str]]
"""Published name -> the names in the file; more than one where a tensor has an alias."""


def find_weights(
    contents: Any, is_tensor: Callable[[Any], bool]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the named tensors of a file, and what else stands beside them.

    :raises CheckpointError: where there are none, saying what there is instead.
    """
    beside: dict[str, Any] = {}
    found = contents
    for _ in range(_MAX_WRAPPINGS):
        holder = _holder(found)
        if holder is None:
            break
        beside = {**{str(key): value for key, value in found.items() if key != holder}, **beside}
        found = found[holder]
    if not isinstance(found, dict):
        raise CheckpointError(f'it holds no weights, but a {type(contents).__name__}')
    weights = {str(key): value for key, value in found.items() if is_tensor(value)}
    if not weights:
        shown = ', '.join(sorted({*map(str, found), *beside})[:6])
        raise CheckpointError(f'it holds no weights, only {shown or "nothing"}')
    return weights, beside


def _holder(found: Any) -> str | None:
    """Return the entry in which the weights stand, if they stand in one."""
    if not isinstance(found, dict):
        return None
    return next((name for name in _HOLDERS if isinstance(found.get(name), dict)), None)


def published_names(keys: Mapping[str, Any]) -> Names:
    """Return the published name of each tensor, without what training tools put in front."""
    plain = {key: _WRAPPER.sub('', key) for key in keys}
    roots = {name.partition('.')[0] for name in plain.values()}
    while len(roots) == 1 and not roots & _ROOTS and all('.' in name for name in plain.values()):
        plain = {key: name.partition('.')[2] for key, name in plain.items()}
        roots = {name.partition('.')[0] for name in plain.values()}
    names: Names = {}
    for key, name in plain.items():
        canonical = _ALIAS.sub(lambda found: f'scratch.layer{int(found[1]) + 1}_rn.', name)
        names.setdefault(canonical, []).append(key)
    return names


def is_dune_encoder(names: Names) -> bool:
    """Return whether the names are those of a DUNE encoder's file."""
    plain = {name.removeprefix(_ENCODER) for name in names}
    return 'cls_token' in plain and 'pos_embed' in plain and 'decoder_embed.weight' not in plain


def encoder_names(names: Names) -> Names:
    """Return the encoder's own tensors of its file, plainly named; its projectors are left out."""
    if any(name.startswith(_ENCODER) for name in names):
        names = {
            name.removeprefix(_ENCODER): keys
            for name, keys in names.items()
            if name.startswith(_ENCODER)
        }
    return {_CHUNK.sub('blocks.', name): keys for name, keys in names.items()}
