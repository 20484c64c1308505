# SPDX-License-Identifier: Apache-2.0
"""Where some channels are a hundred times the others, int8 holds its limits or is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')
pytest.importorskip('nncf', reason='needs nncf')

import torch
from network_runs import DUNE
from seeded_weights import seeded_state_dict

from mast3r_ros.config import BackendType, MASt3RRuntimeConfig, ModelVariant, Precision
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.export.comparison import Limits
from mast3r_ros.export.exporter import ExportRequest, export_model
from mast3r_ros.export.source import ModelSource
from mast3r_ros.export.validation import EngineChoice, PicturePair, record, validate
from mast3r_ros.models.checkpoints import Checkpoint
from mast3r_ros.models.description import SourceFile
from mast3r_ros.models.folder import find_model

SHAPE = (84, 112)
CHANNELS = 20
FACTOR = np.float32(100.0)
# What a norm hands to: its outputs grow, the next weights shrink, so the answer stays the same.
FEEDS = {'norm1': ('attn.qkv',), 'norm3': ('mlp.fc1',), 'norm2': ('cross_attn.projq',)}


def weights_with_outliers() -> dict[str, torch.Tensor]:
    arrays = seeded_state_dict(DUNE, 5)
    for name in list(arrays):
        found = re.fullmatch(r'(.*dec_blocks2?\.\d+\.)(norm[123])\.weight', name)
        if found is None:
            continue
        for part in ('weight', 'bias'):
            norm = f'{found[1]}{found[2]}.{part}'
            arrays[norm] = arrays[norm].copy()
            arrays[norm][:CHANNELS] *= FACTOR
        for next_layer in FEEDS[found[2]]:
            key = f'{found[1]}{next_layer}.weight'
            arrays[key] = arrays[key].copy()
            arrays[key][:, :CHANNELS] /= FACTOR
    return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items()}


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('outliers')
    home = folder / 'models' / 'dune_vit_small'
    file = SourceFile('outliers.pth', 0, '1' * 64)
    source = ModelSource(
        Checkpoint(DUNE, weights_with_outliers(), (file,)),
        ModelVariant.DUNE_VIT_SMALL,
        seeded=True,
    )
    pictures = [made_up_pair(320, 240, shift) for shift in (4, 8)]
    sizes = [(SHAPE, SHAPE)]
    export_model(ExportRequest(source, sizes, Precision.FP32, home / 'fp32'))
    export_model(ExportRequest(source, sizes, Precision.INT8, home / 'int8', pictures=pictures))
    return folder


@pytest.mark.parametrize('backend', [BackendType.ONNXRUNTIME, BackendType.OPENVINO])
def test_with_outliers_int8_holds_the_limits_or_auto_leaves_it(
    cache: Path, backend: BackendType
) -> None:
    pytest.importorskip(backend.value, reason=f'needs {backend.value}')
    home = cache / 'models' / 'dune_vit_small'
    reference = EngineChoice(BackendType.ONNXRUNTIME, Precision.FP32, home / 'fp32')
    candidate = EngineChoice(backend, Precision.INT8, home / 'int8')
    pair = PicturePair(*made_up_pair(320, 240, 6), (('left.png', '0'), ('right.png', '1')))
    outcome = validate(reference, candidate, [pair], Limits())
    record(outcome, candidate)
    config = MASt3RRuntimeConfig(cache_dir=cache)
    taken = find_model(config, backend.value, (Precision.INT8, Precision.FP32))
    assert (taken.description.precision is Precision.INT8) == outcome.passed
    # Even where a limit does not hold, what sticks out was evened out before the rounding.
    assert outcome.figures.descriptor_cosine_p01 > 0.98
    assert outcome.figures.point_error_p50 < 0.1
