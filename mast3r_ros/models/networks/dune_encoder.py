# SPDX-License-Identifier: Apache-2.0
"""The encoder of the DUNE models: learnt positions, one class token and perhaps registers.

Its own last norm is not used by the decoder, which brings another.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.networks.blocks import DuneBlock
from mast3r_ros.models.networks.layers import LayerNorm
from mast3r_ros.models.networks.patch_embed import IMAGENET, PatchEmbed

DECODER_NORM_EPS = 1e-5


class DuneEncoder(nn.Module):
    """The encoder for one size of picture, with the norm that the decoder expects.

    :param like: an encoder for another size, whose weights this one shares.
    """

    encoder: DuneTrunk
    norm: LayerNorm

    def __init__(
        self, architecture: Architecture, shape: tuple[int, int], like: DuneEncoder | None = None
    ) -> None:
        super().__init__()
        self.token_dtype = torch.float32
        trunk = like.encoder if like else None
        self.encoder = DuneTrunk(architecture, architecture.token_grid(*shape), trunk)
        self.norm = like.norm if like else LayerNorm(architecture.enc_dim, DECODER_NORM_EPS)

    def forward(self, image: Tensor) -> Tensor:
        """Return tokens (batch, N, enc_dim) of uint8 pictures (batch, H, W, 3)."""
        tokens: Tensor = self.norm(self.encoder(image))
        return tokens.to(self.token_dtype)


class DuneTrunk(nn.Module):
    """Patches, positions and blocks; the class token and the registers are dropped at the end."""

    patch_embed: PatchEmbed
    blocks: nn.ModuleList
    baked_prefix: Tensor
    baked_positions: Tensor

    def __init__(
        self, architecture: Architecture, grid: tuple[int, int], like: DuneTrunk | None
    ) -> None:
        super().__init__()
        dim, heads = architecture.enc_dim, architecture.enc_heads
        self._architecture = architecture
        self._grid = grid
        self.patch_embed = (
            like.patch_embed if like else PatchEmbed(architecture.patch_px, dim, IMAGENET)
        )
        self.blocks = (
            like.blocks
            if like
            else nn.ModuleList(DuneBlock(dim, heads) for _ in range(architecture.enc_depth))
        )
        prefix = torch.zeros(1, 1 + architecture.registers, dim, device='cpu')
        positions = torch.zeros(1, grid[0] * grid[1], dim, device='cpu')
        self.register_buffer('baked_prefix', prefix, persistent=False)
        self.register_buffer('baked_positions', positions, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the tokens of the patches, float32, before any last norm."""
        x = self.patch_embed(image) + self.baked_positions
        prefix = self.baked_prefix  # a graph of one picture keeps it under this name
        if x.shape[0] != 1:
            prefix = prefix.expand(x.shape[0], -1, -1)
        x = torch.cat((prefix, x), dim=1)
        for block in self.blocks:
            x = block(x)
        return x[:, self.baked_prefix.shape[1] :]

    def bake(self, class_token: Tensor, registers: Tensor | None, positions: Tensor) -> None:
        """Compute what depends on positions alone, from the published tensors.

        The class token has a position of its own, the registers have none.
        """
        first = [class_token.float() + positions[:, :1].float()]
        prefix = torch.cat([*first, *([] if registers is None else [registers.float()])], dim=1)
        self.baked_prefix.copy_(prefix)
        self.baked_positions.copy_(self._resample(positions[:, 1:].float()))

    def _resample(self, stored: Tensor) -> Tensor:
        side, offset = self._architecture.position_side, self._architecture.interpolate_offset
        if self._grid == (side, side):
            return stored
        picture = stored.reshape(1, side, side, -1).permute(0, 3, 1, 2)
        resampled = F.interpolate(
            picture,
            size=None if offset else self._grid,
            # Such a factor moves the places that are sampled, as it did in training; the size
            # that comes of it is that of the grid.
            scale_factor=[(tokens + offset) / side for tokens in self._grid] if offset else None,
            mode='bicubic',
            antialias=self._architecture.interpolate_antialias,
        )
        return resampled.flatten(2).transpose(1, 2)
