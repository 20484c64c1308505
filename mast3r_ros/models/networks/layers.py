# SPDX-License-Identifier: Apache-2.0
"""Linear layers and norms, stored the way that graphs and processors like them.

The residual stream, norms and softmax are float32 whatever the precision: a linear layer casts
what comes in to the type of its own weight.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Order = NDArray[np.int64]


class Linear(nn.Module):
    """``y = x @ weight + bias`` with the weight stored as (in, out), as ONNX multiplies it.

    :param order_in: for each channel that comes in, its place in the published weight.
    :param order_out: for each channel that goes out, its place in the published weight.
    """

    def __init__(
        self,
        dim_in: int,
        dim_out: int,
        *,
        order_in: Order | None = None,
        order_out: Order | None = None,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim_in, dim_out), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(dim_out), requires_grad=False)
        self._order_in = order_in
        self._order_out = order_out

    def forward(self, x: Tensor) -> Tensor:
        """Return the product in the weight's own type."""
        x = x.to(self.weight.dtype)
        if torch.compiler.is_exporting():
            return torch.matmul(x, self.weight) + self.bias  # no transpose of weights in a graph
        return F.linear(x, self.weight.t(), self.bias)  # one pass: the bias goes in with it

    def from_official(self, name: str, tensor: Tensor) -> Tensor:
        """Return a published weight or bias in this layer's own layout."""
        if name == 'weight':
            tensor = tensor.flatten(1)
            if self._order_in is not None:
                tensor = tensor[:, torch.from_numpy(self._order_in)]
        if self._order_out is not None:
            tensor = tensor[torch.from_numpy(self._order_out)]
        return tensor.t() if name == 'weight' else tensor


class Spread(Linear):
    """A transposed convolution whose squares don't overlap: each token becomes side x side pixels.

    Channels go out in the order row, column, channel.
    """

    def __init__(self, dim_in: int, dim_out: int, side: int) -> None:
        super().__init__(dim_in, dim_out * side**2)
        self._side = side

    def from_official(self, name: str, tensor: Tensor) -> Tensor:
        """Return a published weight (in, out, row, column) or bias in this layer's own layout."""
        if name == 'weight':
            return tensor.permute(0, 2, 3, 1).flatten(1)
        return tensor.repeat(self._side**2)


class LayerNorm(nn.Module):
    """A layer norm in float32, whatever comes in."""

    def __init__(self, dim: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(dim), requires_grad=False)
        self.bias = nn.Parameter(torch.empty(dim), requires_grad=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised tokens in float32."""
        return F.layer_norm(x.float(), self.weight.shape, self.weight, self.bias, self.eps)


class Mlp(nn.Module):
    """Two linear layers with the exact GELU between them."""

    def __init__(self, dim_in: int, hidden: int, dim_out: int, order_out: Order | None = None):
        super().__init__()
        self.fc1 = Linear(dim_in, hidden)
        self.fc2 = Linear(hidden, dim_out, order_out=order_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the answer in the type of the weights."""
        y: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return y


def pixel_order(channels: int, side: int) -> Order:
    """Return where (row, column, channel) lies in a published (channel, row, column) order."""
    order = np.arange(channels * side**2).reshape(channels, side, side)
    return np.ascontiguousarray(order.transpose(1, 2, 0)).ravel()
