# SPDX-License-Identifier: Apache-2.0
"""Weights are found in every wrapping, number format and kind of file that they come in."""

from __future__ import annotations

import argparse
import gc
import json
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip('torch')

from support.checkpoint_files import (  # noqa: E402  # it needs PyTorch
    MAST3R,
    SMALL,
    Tensors,
    config_of,
    golden_case,
    golden_tensors,
    save_published,
)
from support.golden_weights import assert_golden  # noqa: E402

from mast3r_ros.models.checkpoints import read_checkpoint  # noqa: E402
from mast3r_ros.models.model_string import parse_model_string  # noqa: E402


def small_tensors() -> Tensors:
    return golden_tensors(SMALL)


@pytest.mark.parametrize(
    'wrapped',
    [
        lambda: {'state_dict': small_tensors()},
        lambda: {'model_state_dict': small_tensors(), 'epoch': 1},
        lambda: {'model': {'state_dict': small_tensors()}},
        lambda: {'model': {f'module.{k}': v for k, v in small_tensors().items()}},
        lambda: {'model': {f'_orig_mod.{k}': v for k, v in small_tensors().items()}},
        lambda: {'model': {f'module._orig_mod.{k}': v for k, v in small_tensors().items()}},
        lambda: {'model': {f'_orig_mod.module.{k}': v for k, v in small_tensors().items()}},
        lambda: {
            'state_dict': {f'model.{k}': v for k, v in small_tensors().items()},
            'pytorch-lightning_version': '2.4.0',
            'global_step': 10,
            'optimizer_states': [{'state': {0: {'exp_avg': torch.ones(2)}}}],
        },
        lambda: {'state_dict': {f'net.module.{k}': v for k, v in small_tensors().items()}},
        lambda: {'model': {k: torch.nn.Parameter(v) for k, v in small_tensors().items()}},
    ],
)
def test_every_wrapping_is_taken_off(
    wrapped: Callable[[], dict[str, Any]], tmp_path: Path
) -> None:
    contents = {**wrapped(), 'args': argparse.Namespace(model=golden_case(SMALL)['model'])}
    path = tmp_path / 'wrapped.pth'
    torch.save(contents, path)
    checkpoint = read_checkpoint(path)
    assert_golden(checkpoint.tensors, SMALL)
    assert not any(tensor.requires_grad for tensor in checkpoint.tensors.values())


def test_a_training_state_with_optimizer_is_read(tmp_path: Path) -> None:
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.ones(3))])
    optimizer.param_groups[0]['params'][0].grad = torch.ones(3)
    optimizer.step()
    path = save_published(
        tmp_path / 'training.pth', SMALL, optimizer=optimizer.state_dict(), scaler={'scale': 1.0}
    )
    assert_golden(read_checkpoint(path).tensors, SMALL)


def test_an_ordered_dict_with_module_versions_is_read(tmp_path: Path) -> None:
    model = OrderedDict(golden_tensors(SMALL))
    model._metadata = {'': {'version': 1}}  # as Module.state_dict() leaves it
    assert_golden(
        read_checkpoint(save_published(tmp_path / 'a.pth', SMALL, model=model)).tensors, SMALL
    )


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_files_keep_their_number_format(dtype: torch.dtype, tmp_path: Path) -> None:
    path = save_published(tmp_path / 'half.pth', SMALL, model=golden_tensors(SMALL, dtype))
    tensors = read_checkpoint(path).tensors
    assert {tensor.dtype for tensor in tensors.values()} == {dtype}
    assert_golden(tensors, SMALL)


def test_a_safetensors_file_as_hugging_face_has_it(tmp_path: Path) -> None:
    safetensors = pytest.importorskip('safetensors.torch', reason='needs safetensors')
    model = {k: v for k, v in golden_tensors(SMALL).items() if 'layer_rn.' not in k}
    path = tmp_path / 'model.safetensors'
    safetensors.save_file(model, path, metadata={'format': 'pt'})
    text = config_of(golden_case(SMALL)['model'])
    assert 'Infinity' in text
    (tmp_path / 'config.json').write_text(text)
    checkpoint = read_checkpoint(path)
    assert (
        checkpoint.architecture == parse_model_string(golden_case(SMALL)['model']).architecture()
    )
    assert_golden(checkpoint.tensors, SMALL)


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16, torch.float64])
def test_safetensors_of_other_number_formats(dtype: torch.dtype, tmp_path: Path) -> None:
    safetensors = pytest.importorskip('safetensors.torch', reason='needs safetensors')
    path = tmp_path / 'model.safetensors'
    safetensors.save_file(golden_tensors(SMALL, dtype), path)
    (tmp_path / 'config.json').write_text(config_of(golden_case(SMALL)['model']))
    assert_golden(read_checkpoint(path).tensors, SMALL)


def test_changes_of_safetensors_do_not_reach_the_file(tmp_path: Path) -> None:
    safetensors = pytest.importorskip('safetensors.torch', reason='needs safetensors')
    path = tmp_path / 'model.safetensors'
    safetensors.save_file(golden_tensors(SMALL), path)
    (tmp_path / 'config.json').write_text(config_of(golden_case(SMALL)['model']))
    before = path.read_bytes()
    read_checkpoint(path).tensors['mask_token'].fill_(7)
    gc.collect()
    assert path.read_bytes() == before


def test_the_description_of_hugging_face_is_the_model_string(tmp_path: Path) -> None:
    from mast3r_ros.models.safetensors_files import model_string_of

    for name in (MAST3R, SMALL):
        text = golden_case(name)['model']
        assert parse_model_string(model_string_of(json.loads(config_of(text)))) == (
            parse_model_string(text)
        )
