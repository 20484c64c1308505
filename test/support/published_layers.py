# SPDX-License-Identifier: Apache-2.0
"""The layers of the published networks as their arithmetic is described, in eager PyTorch.

One operator after another: what a user of the published networks runs on a processor, where rotary
positions are turned by PyTorch's own operators. Nothing is folded or baked.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

_ROPE_BASE = 100.0
_FUSED_LEVELS = (4, 3, 2, 1)  # from the coarsest to the finest


class Layers:
    """Layers over the tensors of a checkpoint, by their published names."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self.tensors = tensors

    def linear(self, name: str, x: Tensor) -> Tensor:
        """Return a linear layer's answer."""
        return F.linear(x, self.tensors[f'{name}.weight'], self.tensors[f'{name}.bias'])

    def norm(self, name: str, x: Tensor, eps: float = 1e-6) -> Tensor:
        """Return the tokens with mean 0 and deviation 1 over their channels, scaled and moved."""
        weight, bias = self.tensors[f'{name}.weight'], self.tensors[f'{name}.bias']
        return F.layer_norm(x, weight.shape, weight, bias, eps)

    def mlp(self, name: str, x: Tensor) -> Tensor:
        """Return two linear layers' answer, with the exact GELU between them."""
        return self.linear(f'{name}.fc2', F.gelu(self.linear(f'{name}.fc1', x)))

    def self_attention(self, name: str, x: Tensor, heads: int, places: Tensor) -> Tensor:
        """Return what each token reads from its own picture, turned by its place."""
        q, k, v = self.queries_keys_values(name, x, heads)
        y = attend(rotate(q, places), rotate(k, places), v)
        return self.linear(f'{name}.proj', y)

    def plain_attention(self, name: str, x: Tensor, heads: int) -> Tensor:
        """Return the same without places, as DUNE's encoder has it: fused, like its authors'."""
        q, k, v = self.queries_keys_values(name, x, heads)
        y = F.scaled_dot_product_attention(q, k, v)
        return self.linear(f'{name}.proj', y.transpose(1, 2).flatten(2))

    def queries_keys_values(self, name: str, x: Tensor, heads: int) -> tuple[Tensor, ...]:
        """Return each as (batch, heads, tokens, channels)."""
        parts = self.linear(f'{name}.qkv', x).unflatten(-1, (3, heads, -1))
        return tuple(part.transpose(1, 2) for part in parts.unbind(2))

    def cross_attention(
        self, name: str, x: Tensor, other: Tensor, heads: int, places: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Return what each token reads from the other picture."""
        q, k, v = (
            self.linear(f'{name}.proj{part}', tokens).unflatten(-1, (heads, -1)).transpose(1, 2)
            for part, tokens in (('q', x), ('k', other), ('v', other))
        )
        return self.linear(f'{name}.proj', attend(rotate(q, places[0]), rotate(k, places[1]), v))

    def conv(self, name: str, x: Tensor, stride: int = 1) -> Tensor:
        """Return a convolution that keeps the picture's size, but for the stride."""
        weight = self.tensors[f'{name}.weight']
        bias = self.tensors.get(f'{name}.bias')
        return F.conv2d(x, weight, bias, stride, padding=weight.shape[2] // 2)

    def spread(self, name: str, x: Tensor) -> Tensor:
        """Return a picture in which each pixel became a square of its own."""
        weight, bias = self.tensors[f'{name}.weight'], self.tensors[f'{name}.bias']
        return F.conv_transpose2d(x, weight, bias, stride=weight.shape[2])

    def residual(self, name: str, x: Tensor) -> Tensor:
        """Return a picture plus what two convolutions add."""
        inner = self.conv(f'{name}.conv1', F.relu(x))
        return self.conv(f'{name}.conv2', F.relu(inner)) + x

    def dpt(self, name: str, depths: list[Tensor], grid: tuple[int, int], side_px: int) -> Tensor:
        """Return (batch, 4, H, W), raw, of the tokens of four depths."""
        levels = self._levels(f'{name}.act_postprocess', [planes(x, grid) for x in depths])
        path: Tensor | None = None
        for level in _FUSED_LEVELS:
            skip = self.conv(f'{name}.scratch.layer{level}_rn', levels[level - 1])
            if path is not None:
                height, width = skip.shape[2:]
                fused = f'{name}.scratch.refinenet{level}.resConfUnit1'
                skip = path[:, :, :height, :width] + self.residual(fused, skip)
            path = self._enlarged(f'{name}.scratch.refinenet{level}', skip)
        assert path is not None
        x = self.conv(f'{name}.head.0', path)
        shape = (side_px * grid[0], side_px * grid[1])
        x = F.interpolate(x, size=shape, mode='bilinear', align_corners=True)
        return self.conv(f'{name}.head.4', F.relu(self.conv(f'{name}.head.2', x)))

    def _levels(self, name: str, pictures: list[Tensor]) -> list[Tensor]:
        """Return the four depths at 4, 2, 1 and 1/2 times the token grid's size."""
        first, second, third, last = (
            self.conv(f'{name}.{level}.0', picture) for level, picture in enumerate(pictures)
        )
        return [
            self.spread(f'{name}.0.1', first),
            self.spread(f'{name}.1.1', second),
            third,
            self.conv(f'{name}.3.1', last, stride=2),
        ]

    def _enlarged(self, name: str, x: Tensor) -> Tensor:
        x = self.residual(f'{name}.resConfUnit2', x)
        x = F.interpolate(x, scale_factor=2, mode='bilinear', align_corners=True)
        return self.conv(f'{name}.out_conv', x)


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return (batch, tokens, all channels) from (batch, heads, tokens, channels)."""
    scores = q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5
    return (scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)


def rotate(x: Tensor, places: Tensor) -> Tensor:
    """Turn the first half of each head's channels by the row, the second by the column.

    :param places: (batch, tokens, 2), row and column of each token.
    """
    cos, sin = _turns(x.shape[-1] // 2, int(places.max()) + 1)
    halves = zip(x.chunk(2, dim=-1), places.unbind(-1), strict=True)
    return torch.cat([_turned(half, place, cos, sin) for half, place in halves], dim=-1)


def _turned(x: Tensor, place: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    swapped = torch.cat((-second, first), dim=-1)
    return x * F.embedding(place, cos)[:, None] + swapped * F.embedding(place, sin)[:, None]


@functools.cache
def _turns(dim: int, count: int) -> tuple[Tensor, Tensor]:
    """Return cosine and sine (count, dim) of the angles at each row or column."""
    frequencies = _ROPE_BASE ** -(torch.arange(0, dim, 2) / dim)
    angles = torch.outer(torch.arange(count).float(), frequencies).repeat(1, 2)
    return angles.cos(), angles.sin()


def planes(tokens: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return (batch, channels, rows, columns) of tokens row by row."""
    return tokens.transpose(1, 2).unflatten(2, grid)
