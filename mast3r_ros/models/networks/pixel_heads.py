# SPDX-License-Identifier: Apache-2.0
"""Heads in which each token alone makes the pixels of its patch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.networks.layers import Linear, Mlp, pixel_order
from mast3r_ros.models.networks.pixels import picture_rows
from mast3r_ros.models.official_keys import CLOUD_CHANNELS, MLP_RATIO


class LinearHead(nn.Module):
    """Raw points and confidence of one view, float32 throughout."""

    def __init__(self, architecture: Architecture, shape: tuple[int, int]) -> None:
        super().__init__()
        self._grid, self._patch_px = architecture.token_grid(*shape), architecture.patch_px
        order = pixel_order(CLOUD_CHANNELS, self._patch_px)
        self.proj = Linear(architecture.dec_dim, order.size, order_out=order)

    def forward(self, last: Tensor) -> Tensor:
        """Return (batch, H, W, 4): x y z confidence before post-processing."""
        return picture_rows(self.proj(last), self._grid, self._patch_px)


class DescriptorHead(nn.Module):
    """Raw descriptors of one view and their confidence, float32 throughout."""

    def __init__(self, architecture: Architecture, shape: tuple[int, int]) -> None:
        super().__init__()
        self._grid, self._patch_px = architecture.token_grid(*shape), architecture.patch_px
        dim = architecture.enc_dim + architecture.dec_dim
        order = pixel_order(architecture.desc_dim + 1, self._patch_px)
        self.head_local_features = Mlp(dim, MLP_RATIO * dim, order.size, order)

    def forward(self, tokens: Tensor, last: Tensor) -> Tensor:
        """Return (batch, H, W, desc_dim + 1): descriptor and confidence before post-processing."""
        both = torch.cat((tokens, last), dim=-1)
        return picture_rows(self.head_local_features(both), self._grid, self._patch_px)
