# SPDX-License-Identifier: Apache-2.0
"""A network cut into stages: encoders, decoder and four heads, each for itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.networks.decoder import Decoder
from mast3r_ros.models.networks.dpt_head import DptHead
from mast3r_ros.models.networks.dune_encoder import DuneEncoder
from mast3r_ros.models.networks.pixel_heads import DescriptorHead, LinearHead
from mast3r_ros.models.networks.vision_encoder import VisionEncoder

Shape = tuple[int, int]
Encoder = VisionEncoder | DuneEncoder


@dataclass(frozen=True)
class Stages:
    """One network for pictures of fixed shapes.

    The parameters of every stage carry their published names (DUNE's without ``mast3r.``), so
    they are unique over the stages and the same for every shape; what depends on the shape are
    buffers whose names begin with ``baked``.

    :param encoder_2: the same module as ``encoder_1`` where the shapes are equal; else it shares
        its parameters.
    """

    architecture: Architecture
    shape_1: Shape
    shape_2: Shape
    encoder_1: Encoder
    encoder_2: Encoder
    decoder: Decoder
    points_1: HeadStage
    points_2: HeadStage
    descriptors_1: HeadStage | None
    descriptors_2: HeadStage | None

    def named(self) -> dict[str, nn.Module]:
        """Return the stages that exist, by name; ``encoder_2`` only where it is another module."""
        names = ('encoder_1', 'encoder_2', 'decoder', 'points_1', 'points_2')
        found = {name: getattr(self, name) for name in (*names, 'descriptors_1', 'descriptors_2')}
        if self.encoder_2 is self.encoder_1:
            del found['encoder_2']
        return {name: stage for name, stage in found.items() if stage is not None}


class HeadStage(nn.Module):
    """A head under its published name."""

    def __init__(self, path: str, head: nn.Module) -> None:
        super().__init__()
        first, _, rest = path.partition('.')
        self.add_module(first, nn.ModuleDict({rest: head}) if rest else head)
        self._path = path

    def forward(self, *tokens: Tensor) -> Tensor:
        """Return the head's raw picture, float32, of tokens of any type."""
        raw: Tensor = self.get_submodule(self._path)(*(each.float() for each in tokens))
        return raw


def build_stages(architecture: Architecture, shape_1: Shape, shape_2: Shape) -> Stages:
    """Return a network without weights yet, for pictures of (height, width) in pixels."""
    for shape in (shape_1, shape_2):
        architecture.token_grid(*shape)
    encoder_1, encoder_2 = _encoders(architecture, shape_1, shape_2)
    stages = Stages(
        architecture=architecture,
        shape_1=shape_1,
        shape_2=shape_2,
        encoder_1=encoder_1,
        encoder_2=encoder_2,
        decoder=Decoder(architecture, shape_1, shape_2),
        points_1=_points(architecture, shape_1, 1),
        points_2=_points(architecture, shape_2, 2),
        descriptors_1=_descriptors(architecture, shape_1, 1),
        descriptors_2=_descriptors(architecture, shape_2, 2),
    )
    for stage in stages.named().values():
        stage.requires_grad_(False).eval()
    return stages


def _encoders(
    architecture: Architecture, shape_1: Shape, shape_2: Shape
) -> tuple[Encoder, Encoder]:
    if architecture.is_dune:
        dune = DuneEncoder(architecture, shape_1)
        return dune, dune if shape_1 == shape_2 else DuneEncoder(architecture, shape_2, dune)
    vision = VisionEncoder(architecture, shape_1)
    return vision, vision if shape_1 == shape_2 else VisionEncoder(architecture, shape_2, vision)


def _points(architecture: Architecture, shape: Shape, view: int) -> HeadStage:
    if architecture.head == 'linear':
        return HeadStage(f'downstream_head{view}', LinearHead(architecture, shape))
    return HeadStage(f'downstream_head{view}.dpt', DptHead(architecture, shape))


def _descriptors(architecture: Architecture, shape: Shape, view: int) -> HeadStage | None:
    if not architecture.desc_dim:
        return None
    return HeadStage(f'downstream_head{view}', DescriptorHead(architecture, shape))
