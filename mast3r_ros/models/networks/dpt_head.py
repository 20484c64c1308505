# SPDX-License-Identifier: Apache-2.0
"""The DPT head: tokens of four depths, fused from coarse to fine into a point for each pixel."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.networks.layers import Linear, Spread
from mast3r_ros.models.networks.pixels import picture_planes
from mast3r_ros.models.official_keys import CLOUD_CHANNELS, FEATURE_DIM, LAST_DIM, LEVEL_DIMS

Shape = tuple[int, int]


class DptHead(nn.Module):
    """Raw points and confidence of one view, float32 throughout."""

    def __init__(self, architecture: Architecture, shape: Shape) -> None:
        super().__init__()
        self._shape = shape
        self._grid = architecture.token_grid(*shape)
        enc, dec = architecture.enc_dim, architecture.dec_dim
        self.act_postprocess = nn.ModuleList(_levels(enc, dec))
        self.scratch = Scratch()
        # The places of the enlargement and of the rectifier between them stay empty.
        self.head = nn.ModuleDict(
            {
                '0': _conv3x3(FEATURE_DIM, LAST_DIM),
                '2': _conv3x3(LAST_DIM, LAST_DIM),
                '4': Conv(LAST_DIM, CLOUD_CHANNELS, 1),
            }
        )

    def forward(self, tokens: Tensor, hook_1: Tensor, hook_2: Tensor, hook_3: Tensor) -> Tensor:
        """Return (batch, H, W, 4): x y z confidence before post-processing.

        :param tokens: the encoder's; the hooks are the decoder's, the last one normalised.
        """
        depths = (tokens, hook_1, hook_2, hook_3)
        pairs = zip(self.act_postprocess, depths, strict=True)
        x = self.scratch([level(each, self._grid) for level, each in pairs])
        x = F.interpolate(self.head['0'](x), size=self._shape, mode='bilinear', align_corners=True)
        return self.head['4'](F.relu(self.head['2'](x))).permute(0, 2, 3, 1)


class Conv(nn.Conv2d):
    """A convolution that comes without the random weights of a fresh one."""

    def reset_parameters(self) -> None:
        """Leave the memory as it is: loading fills it."""


class Enlarged(nn.ModuleList):
    """Tokens to a picture of ``side`` times the token grid."""

    def __init__(self, dim_in: int, dim_out: int, side: int) -> None:
        super().__init__([Linear(dim_in, dim_out), Spread(dim_out, dim_out, side)])
        self._side = side

    def forward(self, tokens: Tensor, grid: Shape) -> Tensor:
        """Return (batch, channels, side * rows, side * columns)."""
        return picture_planes(self[1](self[0](tokens)), grid, self._side)


class Plain(nn.ModuleList):
    """Tokens to a picture of the token grid's size."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        super().__init__([Linear(dim_in, dim_out)])

    def forward(self, tokens: Tensor, grid: Shape) -> Tensor:
        """Return (batch, channels, rows, columns)."""
        return picture_planes(self[0](tokens), grid)


class Halved(nn.ModuleList):
    """Tokens to a picture of half the token grid's size, rounded up."""

    def __init__(self, dim_in: int, dim_out: int) -> None:
        convolution = Conv(dim_out, dim_out, 3, stride=2, padding=1)
        super().__init__([Linear(dim_in, dim_out), convolution])

    def forward(self, tokens: Tensor, grid: Shape) -> Tensor:
        """Return (batch, channels, ceil(rows / 2), ceil(columns / 2))."""
        return self[1](picture_planes(self[0](tokens), grid))


class Scratch(nn.Module):
    """The fusion of the four levels."""

    def __init__(self) -> None:
        super().__init__()
        for level, dim in enumerate(LEVEL_DIMS, start=1):
            self.add_module(f'layer{level}_rn', _conv3x3(dim, FEATURE_DIM, bias=False))
            self.add_module(f'refinenet{level}', Fusion(joins=level < len(LEVEL_DIMS)))

    def forward(self, levels: list[Tensor]) -> Tensor:
        """Return the features of twice the finest level's size."""
        path: Tensor | None = None
        for level in range(len(levels), 0, -1):
            skip = self.get_submodule(f'layer{level}_rn')(levels[level - 1])
            if path is not None:
                # Where the token grid is odd, the coarsest level was rounded up.
                path = path[:, :, : skip.shape[2], : skip.shape[3]]
            path = self.get_submodule(f'refinenet{level}')(skip, path)
        assert path is not None
        return path


class Fusion(nn.Module):
    """One level of the fusion; the coarsest has nothing to join."""

    def __init__(self, *, joins: bool) -> None:
        super().__init__()
        if joins:
            self.resConfUnit1 = Residual()
        self.resConfUnit2 = Residual()
        self.out_conv = Conv(FEATURE_DIM, FEATURE_DIM, 1)

    def forward(self, skip: Tensor, path: Tensor | None) -> Tensor:
        """Return the joined features, twice as large.

        The 1x1 convolution comes before the enlargement though training had it after: both are
        linear and the enlargement's weights sum to one, so the answer is the same for a quarter
        of the work.
        """
        x = skip if path is None else path + self.resConfUnit1(skip)
        x = self.out_conv(self.resConfUnit2(x))
        size = (2 * x.shape[2], 2 * x.shape[3])
        return F.interpolate(x, size=size, mode='bilinear', align_corners=True)


class Residual(nn.Module):
    """Two convolutions around which the input is carried."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = _conv3x3(FEATURE_DIM, FEATURE_DIM)
        self.conv2 = _conv3x3(FEATURE_DIM, FEATURE_DIM)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input plus what the convolutions add."""
        y: Tensor = self.conv2(F.relu(self.conv1(F.relu(x))))
        return x + y


def _conv3x3(dim_in: int, dim_out: int, *, bias: bool = True) -> Conv:
    return Conv(dim_in, dim_out, 3, padding=1, bias=bias)


def _levels(enc_dim: int, dec_dim: int) -> list[nn.Module]:
    """Return what makes the four feature maps, the finest first."""
    first, second, third, last = LEVEL_DIMS
    return [
        Enlarged(enc_dim, first, 4),
        Enlarged(dec_dim, second, 2),
        Plain(dec_dim, third),
        Halved(dec_dim, last),
    ]
