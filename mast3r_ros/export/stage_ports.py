# SPDX-License-Identifier: Apache-2.0
"""What goes into each stage of a network and what comes out: names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.description import DECODER, ENCODER, STAGES, Shape

IMAGE = 'image'
TOKENS = 'tokens'


@dataclass(frozen=True)
class Ports:
    """The inputs of a stage with their shapes, and the names of its outputs, in order."""

    inputs: Mapping[str, tuple[int, ...]]
    outputs: tuple[str, ...]


def stages_of(architecture: Architecture) -> tuple[str, ...]:
    """Return the names of the stages that such a network has."""
    has_descriptors = architecture.desc_dim > 0
    return tuple(name for name in STAGES if has_descriptors or 'descriptors' not in name)


def stage_ports(architecture: Architecture, stage: str, shape_1: Shape, shape_2: Shape) -> Ports:
    """Return the ports of a stage for views of those shapes; the encoder takes one of shape 1."""
    if stage == ENCODER:
        return Ports({IMAGE: (1, *shape_1, 3)}, (TOKENS,))
    tokens_1 = _tokens(architecture, shape_1, architecture.enc_dim)
    tokens_2 = _tokens(architecture, shape_2, architecture.enc_dim)
    if stage == DECODER:
        outputs = tuple(name for view in (1, 2) for name in _hooks(architecture, view))
        return Ports({'tokens_1': tokens_1, 'tokens_2': tokens_2}, outputs)
    view = int(stage[-1])
    tokens, shape = (tokens_1, shape_1) if view == 1 else (tokens_2, shape_2)
    hook = _tokens(architecture, shape, architecture.dec_dim)
    hooks = _hooks(architecture, view)
    inputs = {f'tokens_{view}': tokens} if architecture.head == 'dpt' else {}
    if stage.startswith('descriptors'):
        hooks = hooks[-1:]
    return Ports({**inputs, **dict.fromkeys(hooks, hook)}, (stage,))


def _hooks(architecture: Architecture, view: int) -> tuple[str, ...]:
    """Return the names of the decoder's tokens that the heads of a view read."""
    depths = (1, 2, 3) if architecture.head == 'dpt' else (3,)
    return tuple(f'hook_{view}_{depth}' for depth in depths)


def _tokens(architecture: Architecture, shape: Shape, dim: int) -> tuple[int, ...]:
    rows, columns = architecture.token_grid(*shape)
    return 1, rows * columns, dim
