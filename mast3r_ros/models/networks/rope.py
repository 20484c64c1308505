# SPDX-License-Identifier: Apache-2.0
"""Rotary positions in two dimensions, baked for one token grid.

Published weights order a head's channels as y0 y1 x0 x1 (quarters), where (y0, y1) turns with the
row and (x0, x1) with the column. Here they are y0 x0 y1 x1, for queries and keys alike, which
leaves every product as it was and makes the turn one split into halves.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from mast3r_ros.models.networks.layers import Order

BASE = 100.0


def rope_tables(grid: tuple[int, int], head_dim: int) -> Tensor:
    """Return (4, tokens, 1, head_dim / 2): cosine and sine for queries, then for keys.

    Those for queries also carry the scale of the attention, 1 / sqrt(head_dim).

    :param grid: rows and columns of tokens, numbered row by row.
    """
    half = head_dim // 2
    frequencies = BASE ** -(np.arange(0, half, 2) / half)
    rows, columns = (place.ravel() for place in np.indices(grid))
    angles = np.concatenate([np.outer(rows, frequencies), np.outer(columns, frequencies)], axis=1)
    keys = np.stack([np.cos(angles), np.sin(angles)])
    tables = np.concatenate([keys * head_dim**-0.5, keys])
    return torch.from_numpy(tables.astype(np.float32)[:, :, None, :])


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return the channels of (batch, tokens, heads, head_dim) turned by their positions."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, second * cos + first * sin), dim=-1)


def head_order(dim: int, heads: int) -> Order:
    """Return, for each channel here, its place in the published order."""
    quarters = np.arange(dim).reshape(heads, 2, 2, -1)  # head, axis, half, frequency
    return np.ascontiguousarray(quarters.transpose(0, 2, 1, 3)).ravel()


def qkv_order(dim: int, heads: int) -> Order:
    """Return the same for queries, keys and values side by side; values keep their places."""
    turned = head_order(dim, heads)
    return np.concatenate([turned, dim + turned, 2 * dim + np.arange(dim)])
