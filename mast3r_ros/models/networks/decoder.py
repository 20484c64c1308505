# SPDX-License-Identifier: Apache-2.0
"""The decoder: the tokens of two pictures look at each other, block by block."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.networks.blocks import DecoderBlock
from mast3r_ros.models.networks.layers import LayerNorm, Linear
from mast3r_ros.models.networks.rope import rope_tables


class Decoder(nn.Module):
    """Both halves of the decoder for one pair of picture sizes; each has its own blocks."""

    baked_rope_1: Tensor
    baked_rope_2: Tensor

    def __init__(
        self, architecture: Architecture, shape_1: tuple[int, int], shape_2: tuple[int, int]
    ) -> None:
        super().__init__()
        dim, heads, depth = architecture.dec_dim, architecture.dec_heads, architecture.dec_depth
        self.token_dtype = torch.float32
        self._hooks = architecture.hooks[1:] if architecture.head == 'dpt' else (depth,)
        self.decoder_embed = Linear(architecture.enc_dim, dim)
        self.dec_blocks = nn.ModuleList(DecoderBlock(dim, heads) for _ in range(depth))
        self.dec_blocks2 = nn.ModuleList(DecoderBlock(dim, heads) for _ in range(depth))
        self.dec_norm = LayerNorm(dim)
        rope_1, rope_2 = (
            rope_tables(architecture.token_grid(*shape), dim // heads)
            for shape in (shape_1, shape_2)
        )
        self.register_buffer('baked_rope_1', rope_1, persistent=False)
        same = shape_1 == shape_2
        self.register_buffer('baked_rope_2', rope_1 if same else rope_2, persistent=False)

    def forward(self, tokens_1: Tensor, tokens_2: Tensor) -> tuple[Tensor, ...]:
        """Return the hooked tokens of view 1, then those of view 2; the last are normalised."""
        rope_1, rope_2 = self.baked_rope_1, self.baked_rope_2
        x_1, x_2 = self.decoder_embed(tokens_1).float(), self.decoder_embed(tokens_2).float()
        hooked_1, hooked_2 = [], []
        pairs = zip(self.dec_blocks, self.dec_blocks2, strict=True)
        for depth, (block_1, block_2) in enumerate(pairs, start=1):
            # Both read the pair as the block before left it.
            x_1, x_2 = block_1(x_1, x_2, rope_1, rope_2), block_2(x_2, x_1, rope_2, rope_1)
            if depth in self._hooks[:-1]:
                hooked_1.append(x_1)
                hooked_2.append(x_2)
        hooked_1.append(self.dec_norm(x_1))
        hooked_2.append(self.dec_norm(x_2))
        return tuple(tokens.to(self.token_dtype) for tokens in (*hooked_1, *hooked_2))
