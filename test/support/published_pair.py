# SPDX-License-Identifier: Apache-2.0
"""A pair through a whole published network, in eager PyTorch with the published arithmetic.

It always computes all outputs, both views at once where their sizes are alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from published_layers import Layers, planes
from torch import Tensor
from torch.nn import functional as F

from mast3r_ros.core.results import InferenceResult
from mast3r_ros.core.views import Grid
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.networks.patch_embed import HALF, IMAGENET

Image = NDArray[np.uint8]
_DUNE_NORM_EPS = 1e-5


class PublishedPair:
    """A network of an architecture with the tensors of a checkpoint.

    :param tensors: by their published names; those of both files of a DUNE model together.
    """

    def __init__(
        self, architecture: Architecture, tensors: Mapping[str, NDArray[np.float32]]
    ) -> None:
        self._architecture = architecture
        self._prefix = 'mast3r.' if architecture.is_dune else ''
        # Copies lie in memory as PyTorch itself lays tensors out.
        copies = {name: torch.from_numpy(each).clone() for name, each in tensors.items()}
        self._layers = Layers(copies)

    @torch.inference_mode()
    def infer(self, image_1: Image, image_2: Image) -> InferenceResult:
        """Return the finished answer to two pictures whose sides are multiples of the patch."""
        images = image_1, image_2
        grids = [self._architecture.token_grid(*image.shape[:2]) for image in images]
        places = [torch.cartesian_prod(*map(torch.arange, grid))[None] for grid in grids]
        tokens = self._encode(images, places)
        hooked = self._decode(tokens, places)
        answers = [self._head(view, [tokens[view], *hooked[view]], grids[view]) for view in (0, 1)]
        named = {
            f'{name}_{view}': value
            for view, answer in enumerate(answers, start=1)
            for name, value in answer.items()
        }
        return InferenceResult(*map(Grid, images), **named)

    def _encode(self, images: tuple[Image, Image], places: list[Tensor]) -> list[Tensor]:
        """Return the tokens of both pictures."""
        encode = self._encode_dune if self._architecture.is_dune else self._encode_rotary
        if images[0].shape != images[1].shape:
            pairs = zip(images, places, strict=True)
            return [encode(self._normalised([image]), place) for image, place in pairs]
        return list(encode(self._normalised(images), places[0].expand(2, -1, -1)).split(1))

    def _normalised(self, images: Sequence[Image]) -> Tensor:
        """Return (batch, 3, H, W) around zero."""
        mean, deviation = map(torch.tensor, IMAGENET if self._architecture.is_dune else HALF)
        pixels = torch.from_numpy(np.stack(images)).float() / 255.0
        return ((pixels - mean) / deviation).permute(0, 3, 1, 2)

    def _encode_rotary(self, images: Tensor, places: Tensor) -> Tensor:
        layers, heads = self._layers, self._architecture.enc_heads
        x = self._patches('patch_embed.proj', images)
        for index in range(self._architecture.enc_depth):
            name = f'enc_blocks.{index}'
            normed = layers.norm(f'{name}.norm1', x)
            x = x + layers.self_attention(f'{name}.attn', normed, heads, places)
            x = x + layers.mlp(f'{name}.mlp', layers.norm(f'{name}.norm2', x))
        return layers.norm('enc_norm', x)

    def _encode_dune(self, images: Tensor, places: Tensor) -> Tensor:
        layers, tensors = self._layers, self._layers.tensors
        x = self._patches('dune_backbone.patch_embed.proj', images)
        first = tensors['dune_backbone.cls_token'].expand(len(x), -1, -1)
        rows, columns = (int(side) + 1 for side in places[0, -1])
        x = torch.cat([first, x], dim=1) + self._positions((rows, columns))
        registers = tensors.get('dune_backbone.register_tokens')
        if registers is not None:
            x = torch.cat([x[:, :1], registers.expand(len(x), -1, -1), x[:, 1:]], dim=1)
        for index in range(self._architecture.enc_depth):
            name = f'dune_backbone.blocks.0.{index}'
            normed = layers.norm(f'{name}.norm1', x)
            y = layers.plain_attention(f'{name}.attn', normed, self._architecture.enc_heads)
            x = x + y * tensors[f'{name}.ls1.gamma']
            y = layers.mlp(f'{name}.mlp', layers.norm(f'{name}.norm2', x))
            x = x + y * tensors[f'{name}.ls2.gamma']
        return layers.norm('norm', x[:, -rows * columns :], _DUNE_NORM_EPS)

    def _patches(self, name: str, images: Tensor) -> Tensor:
        weight, bias = self._layers.tensors[f'{name}.weight'], self._layers.tensors[f'{name}.bias']
        x = F.conv2d(images, weight, bias, stride=self._architecture.patch_px)
        return x.flatten(2).transpose(1, 2)

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Return the learnt positions of the class token and of a grid of tokens."""
        stored = self._layers.tensors['dune_backbone.pos_embed']
        side, offset = self._architecture.position_side, self._architecture.interpolate_offset
        if grid == (side, side):
            return stored
        resampled = F.interpolate(
            planes(stored[:, 1:], (side, side)),
            scale_factor=[(tokens + offset) / side for tokens in grid],
            mode='bicubic',
            antialias=self._architecture.interpolate_antialias,
        )
        return torch.cat([stored[:, :1], resampled.flatten(2).transpose(1, 2)], dim=1)

    def _decode(self, tokens: list[Tensor], places: list[Tensor]) -> tuple[list[Tensor], ...]:
        """Return the hooked tokens of both views, the last ones normalised."""
        layers, prefix = self._layers, self._prefix
        pair = [layers.linear(f'{prefix}decoder_embed', x) for x in tokens]
        depths: list[list[Tensor]] = [pair]
        for index in range(self._architecture.dec_depth):
            names = (f'{prefix}dec_blocks.{index}', f'{prefix}dec_blocks2.{index}')
            # Both read the pair as the block before left it.
            pair = [
                self._block(name, pair[view], pair[1 - view], (places[view], places[1 - view]))
                for view, name in enumerate(names)
            ]
            depths.append(pair)
        depths[-1] = [layers.norm(f'{prefix}dec_norm', x) for x in pair]
        hooks = self._architecture.hooks[1:]
        return [depths[k][0] for k in hooks], [depths[k][1] for k in hooks]

    def _block(self, name: str, x: Tensor, other: Tensor, places: tuple[Tensor, Tensor]) -> Tensor:
        layers, heads = self._layers, self._architecture.dec_heads
        normed = layers.norm(f'{name}.norm1', x)
        x = x + layers.self_attention(f'{name}.attn', normed, heads, places[0])
        normed, read = layers.norm(f'{name}.norm2', x), layers.norm(f'{name}.norm_y', other)
        x = x + layers.cross_attention(f'{name}.cross_attn', normed, read, heads, places)
        return x + layers.mlp(f'{name}.mlp', layers.norm(f'{name}.norm3', x))

    def _head(
        self, view: int, depths: list[Tensor], grid: tuple[int, int]
    ) -> dict[str, NDArray[np.float32]]:
        """Return the finished answers of a view by name."""
        layers, patch_px = self._layers, self._architecture.patch_px
        name = f'{self._prefix}downstream_head{view + 1}'
        if self._architecture.head == 'linear':
            raw = F.pixel_shuffle(
                planes(layers.linear(f'{name}.proj', depths[-1]), grid), patch_px
            )
        else:
            raw = layers.dpt(f'{name}.dpt', depths, grid, patch_px)
        if self._architecture.desc_dim:
            both = torch.cat([depths[0], depths[-1]], dim=-1)
            local = planes(layers.mlp(f'{name}.head_local_features', both), grid)
            raw = torch.cat([raw, F.pixel_shuffle(local, patch_px)], dim=1)
        return {key: value.numpy() for key, value in _finished(raw).items()}


def _finished(raw: Tensor) -> dict[str, Tensor]:
    """Return points, descriptors and confidences of raw channels (1, C, H, W)."""
    channels = raw[0].permute(1, 2, 0)
    points = channels[..., :3]
    distance = points.norm(dim=-1, keepdim=True)
    answers = {
        'pts3d': points / distance.clip(min=1e-8) * torch.expm1(distance),
        'conf': 1.0 + channels[..., 3].exp(),
    }
    if channels.shape[-1] > 4:
        descriptors = channels[..., 4:-1]
        answers['desc'] = descriptors / descriptors.norm(dim=-1, keepdim=True)
        answers['desc_conf'] = channels[..., -1].exp()
    return answers
