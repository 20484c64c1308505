# SPDX-License-Identifier: Apache-2.0
"""The pictures that an int8 export finds its ranges with, and what each stage gets for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.preprocessing import plan_for_shape, to_grid
from mast3r_ros.core.views import ImageArray, View
from mast3r_ros.export.answers import RunStage, Tensors, answer_pair
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.description import Shape

PicturePairs = Sequence[tuple[ImageArray, ImageArray]]


@dataclass
class StageSamples:
    """What every stage got, pair by pair."""

    by_stage: dict[str, list[Tensors]] = field(default_factory=dict)

    def recording(self, run: RunStage) -> RunStage:
        """Return what runs stages like ``run`` and keeps what they get."""

        def run_and_keep(stage: str, view: int, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
            self.by_stage.setdefault(stage, []).append(dict(inputs))
            return run(stage, view, inputs)

        return run_and_keep


def sample_stages(
    architecture: Architecture, run: RunStage, pictures: PicturePairs, shapes: tuple[Shape, Shape]
) -> StageSamples:
    """Pass pictures through a network and keep what its stages get.

    :param pictures: pairs of any size; they are scaled and cut to the network's.
    """
    samples = StageSamples()
    recording = samples.recording(run)
    for pair in pictures:
        image_1, image_2 = (
            _cut(image, shape, architecture.patch_px)
            for image, shape in zip(pair, shapes, strict=True)
        )
        answer_pair(architecture, recording, image_1, image_2)
    return samples


def _cut(image: ImageArray, shape: Shape, patch_px: int) -> ImageArray:
    height, width = image.shape[:2]
    plan = plan_for_shape(width, height, shape, patch_px)
    return np.array(to_grid(View(image), plan).image)  # PyTorch wants it writable
