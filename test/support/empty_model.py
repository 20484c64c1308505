# SPDX-License-Identifier: Apache-2.0
"""A model folder of empty graphs: to test what is read of it without a network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from mast3r_ros.config import ModelVariant, Precision
from mast3r_ros.models.description import (
    STAGES,
    Licence,
    ModelDescription,
    SourceFile,
    Weights,
    graph_file,
)

LANDSCAPE, PORTRAIT = (84, 112), (112, 84)
WEIGHTS = b'some weights'


def description(**changes: Any) -> ModelDescription:
    """Return what stands in the `model.json` of a small DUNE network, with changes."""
    made = ModelDescription(
        variant=ModelVariant.DUNE_VIT_SMALL,
        precision=Precision.FP32,
        architecture={'family': 'dune', 'enc_dim': 384},
        patch_px=14,
        metric=True,
        shapes=(LANDSCAPE, PORTRAIT),
        pairs=((LANDSCAPE, PORTRAIT),),
        stages=STAGES,
        weights=Weights('weights.data', len(WEIGHTS), 'ab' * 32),
        sources=(SourceFile('dune.pth', 12, 'cd' * 32),),
        licence=Licence('of the authors', 'https://example.org/licence'),
        exporter={'mast3r_ros': '0.1.0'},
    )
    return replace(made, **changes)


def write(folder: Path, model: ModelDescription) -> Path:
    """Write a model whose graphs are empty files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'model.json').write_text(model.to_json(), encoding='utf-8')
    (folder / model.weights.file).write_bytes(WEIGHTS)
    for shape in model.shapes:
        for stage in model.stages:
            (folder / graph_file(stage, shape)).touch()
    for pair in model.pairs:
        for stage in model.stages[1:]:
            (folder / graph_file(stage, *pair)).touch()
    return folder
