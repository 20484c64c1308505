# SPDX-License-Identifier: Apache-2.0
"""Checkpoints in the layouts of the published ones, with the golden cases' names."""

from __future__ import annotations

import argparse
import json
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.checkpoints import read_checkpoint

GOLDEN = Path(__file__).resolve().parents[1] / 'data' / 'golden'
SMALL = 'dust3r_tiny_linear'  # a few megabytes; the others have heads of the published size
MAST3R = 'mast3r_tiny_landscape'
DUNE = 'dunemast3r_tiny_square'
DUNE_BACKBONE = 'dune_vittiny_14_84_encoder'  # in the publisher's way of naming

Tensors = dict[str, Any]


def golden_case(name: str) -> dict[str, Any]:
    """Return the description of a golden case: model string, names and shapes."""
    return dict(json.loads((GOLDEN / f'{name}.json').read_text()))


def golden_tensors(name: str, dtype: Any = None) -> Tensors:
    """Return tensors of a golden case, its second names sharing their first one's storage."""
    tensors: Tensors = {}
    for key, shape in golden_case(name)['keys'].items():
        head, found, number = key.partition('scratch.layer_rn.')
        first = f'{head}scratch.layer{int(number[0]) + 1}_rn{number[1:]}' if found else key
        if first in tensors:
            tensors[key] = tensors[first]
        else:
            tensors[key] = torch.full(tuple(shape), len(tensors) / 64, dtype=dtype)
    return tensors


def save_published(path: Path, name: str, **changes: Any) -> Path:
    """Write a golden case as NAVER's training writes it; changes replace its entries."""
    case = golden_case(name)
    contents: dict[str, Any] = {
        'args': argparse.Namespace(model=case['model'], lr=1e-4, resolution=[(512, 384)]),
        'model': OrderedDict(golden_tensors(name)),
        'epoch': 3,
        'best_so_far': 0.125,
    }
    contents.update(changes)
    torch.save({key: value for key, value in contents.items() if value is not None}, path)
    return path


def dune_decoder_tensors(dtype: Any = None) -> Tensors:
    """Return what stands in the file of a DUNE decoder."""
    return {
        key: value
        for key, value in golden_tensors(DUNE, dtype).items()
        if not key.startswith(('dune_backbone.', 'imagenet_'))
    }


def dune_encoder_tensors() -> Tensors:
    """Return the encoder's tensors, plainly named."""
    return {
        key.removeprefix('dune_backbone.'): value
        for key, value in golden_tensors(DUNE).items()
        if key.startswith('dune_backbone.')
    }


def save_dune_decoder(path: Path, backbone: str = DUNE_BACKBONE, **changes: Any) -> Path:
    """Write the file of a DUNE decoder."""
    contents = {
        'dune_backbone_name': backbone,
        'mast3r_model_str': golden_case(DUNE)['model'],
        'model': dune_decoder_tensors(torch.float16),
        **changes,
    }
    torch.save({key: value for key, value in contents.items() if value is not None}, path)
    return path


def save_dune_encoder(
    path: Path, tensors: Tensors | None = None, prefix: str = 'module.encoder.', **options: Any
) -> Path:
    """Write the file of a DUNE encoder, with its projectors."""
    weights = {
        f'{prefix}{key}': value for key, value in (tensors or dune_encoder_tensors()).items()
    }
    weights['module.projectors.dino.weight'] = torch.ones(4, 4)
    arguments = argparse.Namespace(image_size=84, enc_args={'num_register_tokens': 4, **options})
    torch.save({'args': arguments, 'model': weights}, path)
    return path


def config_of(model_string: str) -> str:
    """Return a model string as Hugging Face's config.json has it, bare ``Infinity`` included."""
    words = eval(f'dict{model_string[model_string.index("(") :]}', {'inf': float('inf')})
    return json.dumps({**words, 'landscape_only': False}, indent=2)


def write_safetensors(path: Path, header: Mapping[str, Any], values: bytes = b'') -> Path:
    """Write a safetensors file by hand, wrong ones too."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + values)
    return path


def pickled_in_archive(path: Path, data: bytes, **records: bytes) -> Path:
    """Write an archive like that of torch.save around any pickle."""
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('archive/data.pkl', data)
        archive.writestr('archive/byteorder', 'little')
        for name, values in records.items():
            archive.writestr(f'archive/data/{name[1:]}', values)
    return path


def refusal(path: Path) -> str:
    """Return the sentence with which a file is refused."""
    before = path.read_bytes() if path.is_file() else None
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(path)
    assert (path.read_bytes() if path.is_file() else None) == before
    sentence = str(caught.value)
    assert '\n' not in sentence
    assert str(path) in sentence
    return sentence.replace(str(path), 'FILE')  # whose name may hold any word
