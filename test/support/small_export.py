# SPDX-License-Identifier: Apache-2.0
"""The smallest network that can be exported, with seeded weights: a matter of seconds."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from seeded_weights import seeded_state_dict

from mast3r_ros.config import ModelVariant, Precision
from mast3r_ros.export.exporter import ExportReport, ExportRequest, export_model
from mast3r_ros.export.source import ModelSource
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.checkpoints import Checkpoint
from mast3r_ros.models.description import Shape, SourceFile

SHAPE: Shape = (32, 48)
OTHER_SHAPE: Shape = (48, 32)

SMALL = Architecture(
    family='dust3r',
    patch_px=16,
    enc_dim=32,
    enc_depth=1,
    enc_heads=1,
    dec_dim=32,
    dec_depth=1,
    dec_heads=1,
    head='linear',
    desc_dim=0,
)

_MODEL_STRING = (
    "AsymmetricCroCo3DStereo(pos_embed='RoPE100', patch_embed_cls='PatchEmbedDust3R', "
    "img_size=(224, 224), head_type='linear', output_mode='pts3d', "
    "depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), enc_embed_dim=32, enc_depth=1, "
    'enc_num_heads=1, dec_embed_dim=32, dec_depth=1, dec_num_heads=1)'
)


def small_source(seed: int = 1, architecture: Architecture = SMALL) -> ModelSource:
    """Return made-up weights as an export takes them."""
    import torch

    arrays = seeded_state_dict(architecture, seed)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    digest = hashlib.sha256(f'{architecture} {seed}'.encode()).hexdigest()
    checkpoint = Checkpoint(architecture, tensors, (SourceFile('small.pth', 0, digest),))
    return ModelSource(checkpoint, ModelVariant.DUST3R_224_LINEAR, seeded=True)


def export_small(
    folder: Path,
    *shapes: Shape,
    precision: Precision = Precision.FP32,
    seed: int = 1,
    overwrite: bool = False,
) -> ExportReport:
    """Export the smallest network."""
    pairs = [(shape, shape) for shape in shapes or (SHAPE,)]
    request = ExportRequest(small_source(seed), pairs, precision, folder, overwrite)
    return export_model(request)


def save_small_checkpoint(path: Path, seed: int = 1) -> Path:
    """Write the smallest network's weights as they are published."""
    import torch

    arrays = seeded_state_dict(SMALL, seed)
    tensors = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({'args': argparse.Namespace(model=_MODEL_STRING), 'model': tensors}, path)
    return path
