# SPDX-License-Identifier: Apache-2.0
"""From tokens that carry a square of pixels each to a picture."""

from __future__ import annotations

import torch
from torch import Tensor


def picture_rows(tokens: Tensor, grid: tuple[int, int], side: int) -> Tensor:
    """Return (batch, H, W, channels) of tokens that carry side x side pixels, channels last."""
    rows, columns = grid
    channels = _channels(tokens, side)
    squares = tokens.reshape(-1, rows, columns, side, side * channels)
    return squares.transpose(2, 3).reshape(-1, rows * side, columns * side, channels)


def picture_planes(tokens: Tensor, grid: tuple[int, int], side: int = 1) -> Tensor:
    """Return the same as (batch, channels, H, W), as convolutions take it."""
    rows, columns = grid
    if not torch.compiler.is_exporting():
        # Channels last in memory: what convolutions run fastest on, and mostly no copy.
        return picture_rows(tokens, grid, side).permute(0, 3, 1, 2)
    channels = _channels(tokens, side)
    squares = tokens.reshape(-1, rows, columns, side, side, channels)
    planes = squares.permute(0, 5, 1, 3, 2, 4)
    return planes.reshape(-1, channels, rows * side, columns * side)


def _channels(tokens: Tensor, side: int) -> int:
    return tokens.shape[2] // side**2
