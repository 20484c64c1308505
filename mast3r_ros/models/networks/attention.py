# SPDX-License-Identifier: Apache-2.0
"""Attention of tokens to their own picture and to the other one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mast3r_ros.models.networks.layers import Linear
from mast3r_ros.models.networks.rope import head_order, qkv_order, rotate


class SelfAttention(nn.Module):
    """Every token looks at every token of its own picture."""

    def __init__(self, dim: int, heads: int, *, rotary: bool) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = Linear(dim, 3 * dim, order_out=qkv_order(dim, heads) if rotary else None)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor, rope: Tensor | None = None) -> Tensor:
        """Return what is added to the tokens.

        :param rope: the baked tables of the tokens' grid; None where positions are not rotary.
        """
        parts = self.qkv(x).chunk(3, dim=-1)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in parts)
        if rope is None:
            q = q * q.shape[-1] ** -0.5
        else:
            q, k = rotate(q, rope[0], rope[1]), rotate(k, rope[2], rope[3])
        y: Tensor = self.proj(attend(q, k, v))
        return y


class CrossAttention(nn.Module):
    """Every token looks at every token of the other picture."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        order = head_order(dim, heads)
        self.projq = Linear(dim, dim, order_out=order)
        self.projk = Linear(dim, dim, order_out=order)
        self.projv = Linear(dim, dim)
        self.proj = Linear(dim, dim)

    def forward(self, x: Tensor, other: Tensor, rope: Tensor, rope_other: Tensor) -> Tensor:
        """Return what is added to the tokens ``x``."""
        q, k, v = (
            part.unflatten(-1, (self.heads, -1))
            for part in (self.projq(x), self.projk(other), self.projv(other))
        )
        q, k = rotate(q, rope[0], rope[1]), rotate(k, rope_other[2], rope_other[3])
        y: Tensor = self.proj(attend(q, k, v))
        return y


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return (batch, tokens, channels) from (batch, tokens, heads, head_dim); ``q`` is scaled."""
    q, k, v = (part.transpose(1, 2) for part in (q, k, v))
    if torch.compiler.is_exporting():  # plain operators, which every runtime knows and fuses
        weights = torch.matmul(q, k.transpose(-2, -1)).float().softmax(dim=-1)
        y = torch.matmul(weights.to(v.dtype), v)
    else:
        y = F.scaled_dot_product_attention(q, k, v, scale=1.0)
    return y.transpose(1, 2).flatten(2)
