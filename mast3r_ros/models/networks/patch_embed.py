# SPDX-License-Identifier: Apache-2.0
"""From a picture's bytes to one token for each square patch."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mast3r_ros.models.networks.layers import Linear, pixel_order

# Mean and deviation of each channel, red green blue, of values 0 to 1.
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]


class PatchEmbed(nn.Module):
    """Normalise the picture and turn each patch into a token, row by row of patches."""

    baked_gain: Tensor
    baked_shift: Tensor

    def __init__(self, patch_px: int, dim: int, statistics: Statistics) -> None:
        super().__init__()
        self.patch_px = patch_px
        self.proj = Linear(3 * patch_px**2, dim, order_in=pixel_order(3, patch_px))
        mean, deviation = statistics
        gain = [1.0 / (255.0 * each) for each in deviation]
        shift = [-a / b for a, b in zip(mean, deviation, strict=True)]
        self.register_buffer('baked_gain', torch.tensor(gain, device='cpu'), persistent=False)
        self.register_buffer('baked_shift', torch.tensor(shift, device='cpu'), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return tokens (batch, N, dim), float32, of uint8 pictures (batch, H, W, 3)."""
        side, rows, columns = self.patch_px, *self._grid(image)
        pixels = image.float() * self.baked_gain + self.baked_shift
        patches = pixels.reshape(-1, rows, side, columns, 3 * side).transpose(2, 3)
        tokens: Tensor = self.proj(patches.reshape(-1, rows * columns, 3 * side**2))
        return tokens.float()

    def _grid(self, image: Tensor) -> tuple[int, int]:
        return image.shape[1] // self.patch_px, image.shape[2] // self.patch_px
