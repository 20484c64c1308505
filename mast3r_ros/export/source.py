# SPDX-License-Identifier: Apache-2.0
"""Where an export's weights come from, and what the model's description says of them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_ros import __version__
from mast3r_ros.config import ModelVariant, Precision
from mast3r_ros.errors import ModelNotFound
from mast3r_ros.export.sizes import Pair, split_sizes
from mast3r_ros.export.stage_ports import stages_of
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.catalogue import MODELS, PublishedModel, published_model
from mast3r_ros.models.description import (
    Licence,
    ModelDescription,
    Shape,
    SourceFile,
    Weights,
)

if TYPE_CHECKING:
    from mast3r_ros.models.checkpoints import Checkpoint
    from mast3r_ros.models.networks.stages import Stages

_BYTES_EACH = {
    Precision.FP32: 4,
    Precision.FP16: 2,
    Precision.BF16: 2,
    Precision.INT8: 1,
    Precision.INT8_FP16: 1,
}


class ModelSource:
    """The weights of one network and what is known of them.

    :param variant: which network it is; None to tell by its dimensions and names.
    :param seeded: whether the weights are made up.
    """

    def __init__(
        self, checkpoint: Checkpoint, variant: ModelVariant | None = None, *, seeded: bool = False
    ) -> None:
        self.architecture: Architecture = checkpoint.architecture
        names = {item.name for item in checkpoint.sources}
        self.variant = variant or variant_of(self.architecture, names)
        self.notes = tuple(checkpoint.notes)
        self._checkpoint = checkpoint
        self._seeded = seeded
        self._sources: tuple[SourceFile, ...] = ()

    @property
    def sources(self) -> tuple[SourceFile, ...]:
        """The files, with their digests, which are worked out when first asked for."""
        if not self._sources:
            self._sources = tuple(
                SourceFile(item.name, item.bytes, item.sha256) for item in self._checkpoint.sources
            )
        return self._sources

    def weights_bytes(self, precision: Precision) -> int:
        """Return about how large the weights are at a precision."""
        numbers = sum(tensor.numel() for tensor in self._checkpoint.tensors.values())
        return numbers * _BYTES_EACH[precision]

    def build(self, shape_1: Shape, shape_2: Shape) -> Stages:
        """Return the network for views of those shapes, with its weights, in float32."""
        from mast3r_ros.models.networks.loading import load_weights
        from mast3r_ros.models.networks.stages import build_stages

        stages = build_stages(self.architecture, shape_1, shape_2)
        load_weights(stages, self._checkpoint.tensors)
        return stages

    def to_precision(self, stages: Stages, precision: Precision) -> Stages:
        """Return the network at a precision; int8 begins with float32."""
        from mast3r_ros.models.networks.precision import to_precision

        if precision in (Precision.FP32, Precision.INT8):
            return stages
        return to_precision(stages, precision)

    def describe(
        self,
        precision: Precision,
        sizes: Sequence[Pair],
        weights: Weights,
    ) -> ModelDescription:
        """Return what stands in ``model.json``."""
        published = published_model(self.variant)
        shapes, pairs = split_sizes(sizes)
        return ModelDescription(
            variant=self.variant,
            precision=precision,
            architecture=self.architecture.to_dict(),
            patch_px=self.architecture.patch_px,
            metric=self.architecture.metric,
            shapes=shapes,
            pairs=pairs,
            stages=stages_of(self.architecture),
            weights=weights,
            sources=self.sources,
            licence=_licence(published),
            exporter=_versions(),
            official_pair=self._checkpoint.official_pair,
            seeded=self._seeded,
        )

    def differences(self, present: ModelDescription, precision: Precision) -> list[str]:
        """Return, in words, how a model that is there differs from what would be exported."""
        found = []
        if present.variant is not self.variant:
            found.append(f'{present.variant.value} instead of {self.variant.value}')
        if present.precision is not precision:
            found.append(f'{present.precision.value} instead of {precision.value}')
        if {item.sha256 for item in present.sources} != {item.sha256 for item in self.sources}:
            found.append('from other files of weights')
        return found


def variant_of(architecture: Architecture, names: Collection[str] = ()) -> ModelVariant:
    """Return the published network with these dimensions, else the one most like them.

    :param names: of the files; where dimensions do not tell two networks apart, these may.
    """

    def likeness(published: PublishedModel) -> tuple[bool, int, bool]:
        alike = [
            getattr(architecture, name) == value for name, value in published.dimensions.items()
        ]
        named = any(file.name in names for file in published.files)
        return published.dimensions['family'] == architecture.family, sum(alike), named

    return max(MODELS.values(), key=likeness).variant


def checkpoint_in_cache(variant: ModelVariant, cache_folder: Path) -> tuple[Path, Path | None]:
    """Return the published files of a network, as ``mast3r-download`` left them.

    :raises ModelNotFound: one is missing; says how to get it.
    """
    paths = published_model(variant).paths(cache_folder)
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ModelNotFound(
            f'{missing[0]} is not there; fetch it with `mast3r-download --variant '
            f'{variant.value}`, or name a file with --checkpoint'
        )
    return paths[0], paths[1] if len(paths) > 1 else None


def _licence(published: PublishedModel) -> Licence:
    licences = published.licences
    names, addresses = ([getattr(item, part) for item in licences] for part in ('name', 'url'))
    return Licence(' and '.join(names), ' and '.join(addresses))


def _versions() -> Mapping[str, str]:
    import onnx
    import onnxscript
    import torch

    return {
        'mast3r_ros': __version__,
        'torch': str(torch.__version__),
        'onnx': onnx.__version__,
        'onnxscript': onnxscript.__version__,
    }
