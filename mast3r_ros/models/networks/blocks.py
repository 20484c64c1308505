# SPDX-License-Identifier: Apache-2.0
"""The blocks that encoders and decoders are stacked from."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mast3r_ros.models.networks.attention import CrossAttention, SelfAttention
from mast3r_ros.models.networks.layers import LayerNorm, Mlp
from mast3r_ros.models.official_keys import MLP_RATIO


class EncoderBlock(nn.Module):
    """Attention within a picture, then an MLP."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = SelfAttention(dim, heads, rotary=True)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, MLP_RATIO * dim, dim)

    def forward(self, x: Tensor, rope: Tensor) -> Tensor:
        """Return the next tokens, float32."""
        x = x + self.attn(self.norm1(x), rope).float()
        return x + self.mlp(self.norm2(x)).float()


class DuneBlock(nn.Module):
    """The same without rotary positions, each branch scaled by a learnt gain for each channel."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = SelfAttention(dim, heads, rotary=False)
        self.ls1 = Gain(dim)
        self.norm2 = LayerNorm(dim)
        self.mlp = Mlp(dim, MLP_RATIO * dim, dim)
        self.ls2 = Gain(dim)

    def forward(self, x: Tensor) -> Tensor:
        """Return the next tokens, float32."""
        x = x + self.ls1(self.attn(self.norm1(x)).float())
        return x + self.ls2(self.mlp(self.norm2(x)).float())


class DecoderBlock(nn.Module):
    """Attention within a picture, then to the other one, then an MLP."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attn = SelfAttention(dim, heads, rotary=True)
        self.norm2 = LayerNorm(dim)
        self.norm_y = LayerNorm(dim)
        self.cross_attn = CrossAttention(dim, heads)
        self.norm3 = LayerNorm(dim)
        self.mlp = Mlp(dim, MLP_RATIO * dim, dim)

    def forward(self, x: Tensor, other: Tensor, rope: Tensor, rope_other: Tensor) -> Tensor:
        """Return the next tokens of ``x``, float32; ``other`` is as it was before this block."""
        x = x + self.attn(self.norm1(x), rope).float()
        cross = self.cross_attn(self.norm2(x), self.norm_y(other), rope, rope_other)
        x = x + cross.float()
        return x + self.mlp(self.norm3(x)).float()


class Gain(nn.Module):
    """A learnt factor for each channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.empty(dim), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the channels times their factors."""
        return x * self.gamma
