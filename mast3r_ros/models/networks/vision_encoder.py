# SPDX-License-Identifier: Apache-2.0
"""The encoder of MASt3R and DUSt3R: a picture in, tokens with rotary positions out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.networks.blocks import EncoderBlock
from mast3r_ros.models.networks.layers import LayerNorm
from mast3r_ros.models.networks.patch_embed import HALF, PatchEmbed
from mast3r_ros.models.networks.rope import rope_tables


class VisionEncoder(nn.Module):
    """The encoder for one size of picture.

    :param like: an encoder for another size, whose weights this one shares.
    """

    patch_embed: PatchEmbed
    enc_blocks: nn.ModuleList
    enc_norm: LayerNorm
    baked_rope: Tensor

    def __init__(
        self, architecture: Architecture, shape: tuple[int, int], like: VisionEncoder | None = None
    ) -> None:
        super().__init__()
        dim, heads = architecture.enc_dim, architecture.enc_heads
        self.token_dtype = torch.float32
        self.patch_embed = (
            like.patch_embed if like else PatchEmbed(architecture.patch_px, dim, HALF)
        )
        self.enc_blocks = (
            like.enc_blocks
            if like
            else nn.ModuleList(EncoderBlock(dim, heads) for _ in range(architecture.enc_depth))
        )
        self.enc_norm = like.enc_norm if like else LayerNorm(dim)
        tables = rope_tables(architecture.token_grid(*shape), dim // heads)
        self.register_buffer('baked_rope', tables, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return tokens (batch, N, enc_dim) of uint8 pictures (batch, H, W, 3)."""
        x = self.patch_embed(image)
        for block in self.enc_blocks:
            x = block(x, self.baked_rope)
        tokens: Tensor = self.enc_norm(x)
        return tokens.to(self.token_dtype)
