# SPDX-License-Identifier: Apache-2.0
"""Published weights are read whole, under their published names, in every layout they come in."""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')

from support.checkpoint_files import (  # noqa: E402  # it needs PyTorch
    DUNE,
    MAST3R,
    SMALL,
    config_of,
    dune_decoder_tensors,
    dune_encoder_tensors,
    golden_case,
    golden_tensors,
    save_dune_decoder,
    save_dune_encoder,
    save_published,
)

from mast3r_ros.errors import CheckpointError  # noqa: E402
from mast3r_ros.models.checkpoints import read_checkpoint, read_outline  # noqa: E402
from mast3r_ros.models.model_string import parse_model_string  # noqa: E402
from mast3r_ros.models.official_keys import official_shapes, parameter_name  # noqa: E402


@pytest.fixture(scope='module')
def mast3r_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_published(tmp_path_factory.mktemp('mast3r') / 'mast3r.pth', MAST3R)


@pytest.fixture(scope='module')
def dune_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_dune_decoder(tmp_path_factory.mktemp('dune') / 'dunemast3r_cvpr25_vittiny.pth')


@pytest.fixture
def dune_encoder(tmp_path: Path) -> Path:
    return save_dune_encoder(tmp_path / 'dune_vittiny14_84.pth')


def assert_golden(tensors: dict, case: str, renamed=lambda key: key) -> None:
    """Assert that every tensor of a golden case came, with its values, under its first name."""
    expected = {}
    for key, value in golden_tensors(case).items():
        if 'layer_rn.' not in key:
            expected[renamed(key)] = value
    assert set(tensors) == set(expected)
    for key, value in expected.items():
        assert torch.equal(tensors[key].float(), value.to(tensors[key].dtype).float()), key


def test_a_published_mast3r_file_gives_architecture_and_tensors(mast3r_file: Path) -> None:
    checkpoint = read_checkpoint(mast3r_file)
    assert (
        checkpoint.architecture == parse_model_string(golden_case(MAST3R)['model']).architecture()
    )
    assert_golden(checkpoint.tensors, MAST3R)
    assert checkpoint.notes == ()
    assert checkpoint.official_pair


def test_the_tensors_are_just_those_of_the_architecture(mast3r_file: Path) -> None:
    outline = read_outline(mast3r_file)
    assert outline.files[0].shapes == official_shapes(outline.architecture)


def test_sources_carry_name_size_and_hash(tmp_path: Path) -> None:
    path = save_published(tmp_path / 'weights.pth', SMALL)
    (source,) = read_checkpoint(path).sources
    assert source.name == 'weights.pth'
    assert source.bytes == path.stat().st_size
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_reading_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = save_published(tmp_path / 'weights.pth', SMALL)
    before = path.read_bytes()
    tensors = read_checkpoint(path).tensors
    tensors['mask_token'].fill_(7)
    del tensors
    gc.collect()
    assert path.read_bytes() == before


def small_tensors() -> dict:
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
def test_every_wrapping_is_taken_off(wrapped, tmp_path: Path) -> None:
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


@pytest.mark.parametrize('dtype', [torch.float16, torch.bfloat16])
def test_half_precision_files_keep_their_number_format(dtype, tmp_path: Path) -> None:
    path = save_published(tmp_path / 'half.pth', SMALL, model=golden_tensors(SMALL, dtype))
    tensors = read_checkpoint(path).tensors
    assert {tensor.dtype for tensor in tensors.values()} == {dtype}
    assert_golden(tensors, SMALL)


@pytest.mark.parametrize('kept', ['first', 'second'])
def test_either_name_of_an_aliased_tensor_will_do(
    kept: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    dropped = '_rn.weight' if kept == 'second' else 'layer_rn.'
    names = golden_tensors(MAST3R, torch.float16)
    model = {key: value for key, value in names.items() if dropped not in key}
    assert len(model) == len(names) - 8
    path = tmp_path_factory.mktemp('alias') / 'alias.pth'
    checkpoint = read_checkpoint(save_published(path, MAST3R, model=model))
    path.unlink()
    assert set(official_shapes(checkpoint.architecture)) == set(checkpoint.tensors)


def test_names_of_one_tensor_that_differ_are_refused(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model = golden_tensors(MAST3R, torch.float16)
    key = 'downstream_head1.dpt.scratch.layer_rn.0.weight'
    model[key] = model[key] + 1
    path = save_published(tmp_path_factory.mktemp('alias') / 'alias.pth', MAST3R, model=model)
    with pytest.raises(CheckpointError, match='names of one tensor and differ'):
        read_checkpoint(path)
    path.unlink()


def test_unused_tensors_may_be_missing(tmp_path: Path) -> None:
    model = golden_tensors(SMALL)
    del model['mask_token']
    path = save_published(tmp_path / 'lean.pth', SMALL, model=model)
    assert 'mask_token' not in read_checkpoint(path).tensors


def test_without_a_description_the_shapes_tell(tmp_path: Path) -> None:
    case = golden_case(SMALL)
    text = case['model'].replace('enc_num_heads=2', 'enc_num_heads=1')
    assert '64' in text  # one head of 64 channels is what the published networks have
    path = save_published(tmp_path / 'bare.pth', SMALL, args=None)
    with pytest.raises(CheckpointError, match='decoder of 48 channels is not of the published'):
        read_checkpoint(path)


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
def test_safetensors_of_other_number_formats(dtype, tmp_path: Path) -> None:
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


def test_a_dune_network_comes_from_two_files(dune_decoder: Path, dune_encoder: Path) -> None:
    checkpoint = read_checkpoint(dune_decoder, dune_encoder)
    architecture = checkpoint.architecture
    assert (architecture.family, architecture.patch_px) == ('dune', 14)
    assert (architecture.enc_depth, architecture.enc_heads) == (3, 2)
    assert (architecture.registers, architecture.position_side) == (4, 6)
    assert not architecture.interpolate_antialias
    assert architecture.interpolate_offset == 0.1
    assert checkpoint.official_pair
    assert checkpoint.notes == ()
    assert [source.name for source in checkpoint.sources] == [
        'dunemast3r_cvpr25_vittiny.pth',
        'dune_vittiny14_84.pth',
    ]
    whole = {key: value for key, value in golden_tensors(DUNE).items() if 'imagenet' not in key}
    expected = {parameter_name(key) for key in whole}
    assert {parameter_name(key) for key in checkpoint.tensors} == expected
    assert 'encoder.blocks.2.ls1.gamma' in checkpoint.tensors
    assert 'mast3r.dec_blocks.0.norm1.weight' in checkpoint.tensors


@pytest.mark.parametrize('prefix', ['', 'encoder.', 'module.encoder.', '_orig_mod.encoder.'])
def test_a_dune_encoder_under_any_prefix(prefix: str, dune_decoder: Path, tmp_path: Path) -> None:
    tensors = dune_encoder_tensors()
    path = tmp_path / 'dune_vittiny14_84.pth'
    if prefix:
        save_dune_encoder(path, tensors, prefix)
    else:
        torch.save({'model': tensors}, path)
    found = read_checkpoint(dune_decoder, path).tensors
    assert torch.equal(found['encoder.blocks.1.norm1.weight'], tensors['blocks.0.1.norm1.weight'])


def test_registers_are_told_by_their_tensor(dune_decoder: Path, tmp_path: Path) -> None:
    tensors = dune_encoder_tensors()
    del tensors['register_tokens']  # the options go on saying that there are four
    path = save_dune_encoder(tmp_path / 'dune_vittiny14_84.pth', tensors)
    assert read_outline(dune_decoder, path).architecture.registers == 0


def test_antialiasing_of_positions_is_read_from_the_encoder(
    dune_decoder: Path, tmp_path: Path
) -> None:
    path = save_dune_encoder(
        tmp_path / 'dune_vittiny14_84.pth', interpolate_antialias=True, interpolate_offset=0.0
    )
    architecture = read_outline(dune_decoder, path).architecture
    assert architecture.interpolate_antialias
    assert architecture.interpolate_offset == 0.0


def test_a_dune_decoder_alone_asks_for_its_encoder(dune_decoder: Path) -> None:
    with pytest.raises(CheckpointError, match=r'encoder \(dune_vittiny14_84.pth\) must be given'):
        read_checkpoint(dune_decoder)


def test_a_dune_encoder_alone_asks_for_its_decoder(dune_encoder: Path) -> None:
    with pytest.raises(CheckpointError, match='give the decoder'):
        read_checkpoint(dune_encoder)


def test_an_encoder_of_another_training_size_is_refused_unless_allowed(
    dune_encoder: Path, tmp_path: Path
) -> None:
    decoder = save_dune_decoder(tmp_path / 'decoder.pth', 'dune_vittiny_14_112_encoder')
    with pytest.raises(CheckpointError, match='training size 84 instead of 112'):
        read_outline(decoder, dune_encoder)
    outline = read_outline(decoder, dune_encoder, allow_unofficial_pair=True)
    assert not outline.official_pair
    assert 'training size 84 instead of 112' in outline.notes[0]
    decoder.unlink()


def test_an_encoder_of_another_name_is_refused_unless_allowed(
    dune_encoder: Path, tmp_path: Path
) -> None:
    decoder = save_dune_decoder(tmp_path / 'decoder.pth', 'dune_vittiny_14_84_paper_encoder')
    with pytest.raises(CheckpointError, match=r'it is named dune_vittiny14_84.pth'):
        read_outline(decoder, dune_encoder)
    assert not read_outline(decoder, dune_encoder, allow_unofficial_pair=True).official_pair
    decoder.unlink()


@pytest.mark.parametrize(
    ('backbone', 'words'),
    [
        (None, 'names no encoder: whether it was trained with this one cannot be told'),
        ('', 'names no encoder: whether it was trained with this one cannot be told'),
        ('my_vit', "asks for 'my_vit': that is a name of no published make"),
    ],
)
def test_a_decoder_that_proves_no_encoder_makes_no_official_pair(
    backbone: str | None, words: str, dune_encoder: Path, tmp_path: Path
) -> None:
    decoder = save_dune_decoder(tmp_path / 'decoder.pth', dune_backbone_name=backbone)
    with pytest.raises(CheckpointError, match=f'{words}.*--allow-unofficial-pair'):
        read_outline(decoder, dune_encoder)
    outline = read_outline(decoder, dune_encoder, allow_unofficial_pair=True)
    assert not outline.official_pair
    assert outline.notes[0].startswith('an unofficial pair: ')
    decoder.unlink()


def test_a_dune_decoder_in_safetensors_wants_its_description_and_is_no_official_pair(
    dune_encoder: Path, tmp_path: Path
) -> None:
    safetensors = pytest.importorskip('safetensors.torch', reason='needs safetensors')
    path = tmp_path / 'decoder.safetensors'
    model = dune_decoder_tensors(torch.float16)
    safetensors.save_file({k: v for k, v in model.items() if 'layer_rn.' not in k}, path)
    with pytest.raises(CheckpointError, match='names no encoder'):
        read_outline(path, dune_encoder)
    with pytest.raises(CheckpointError, match='lacks mast3r_model_str'):
        read_outline(path, dune_encoder, allow_unofficial_pair=True)
    (tmp_path / 'config.json').write_text(config_of(golden_case(DUNE)['model']))
    outline = read_outline(path, dune_encoder, allow_unofficial_pair=True)
    assert (outline.architecture.family, outline.official_pair) == ('dune', False)
    path.unlink()


def test_a_renamed_encoder_is_taken_with_a_note(dune_decoder: Path, tmp_path: Path) -> None:
    path = save_dune_encoder(tmp_path / 'my_encoder.pth')
    outline = read_outline(dune_decoder, path)
    assert outline.official_pair
    assert 'has not its published name' in outline.notes[0]


def test_an_encoder_that_contradicts_its_own_positions_is_taken_with_a_note(
    dune_decoder: Path, tmp_path: Path
) -> None:
    path = tmp_path / 'dune_vittiny14_84.pth'
    arguments = argparse.Namespace(image_size=448, enc_args=None)
    torch.save({'args': arguments, 'model': dune_encoder_tensors()}, path)
    (note,) = read_outline(dune_decoder, path).notes
    assert 'trained at 448 px, its positions are for 84 px' in note


def test_an_encoder_of_another_token_size_is_always_refused(
    dune_decoder: Path, tmp_path: Path
) -> None:
    tensors = {
        key: torch.zeros([side * 2 if side == 64 else side for side in value.shape])
        for key, value in dune_encoder_tensors().items()
    }
    path = save_dune_encoder(tmp_path / 'wide.pth', tensors)
    with pytest.raises(CheckpointError, match='128 channels'):
        read_checkpoint(dune_decoder, path, allow_unofficial_pair=True)


def test_the_two_files_of_dune_in_the_wrong_order(dune_decoder: Path, dune_encoder: Path) -> None:
    with pytest.raises(CheckpointError, match='give the decoder'):
        read_checkpoint(dune_encoder, dune_decoder)


def test_a_decoder_is_no_encoder(dune_decoder: Path) -> None:
    with pytest.raises(CheckpointError, match='not the encoder of a DUNE network'):
        read_checkpoint(dune_decoder, dune_decoder)


def test_a_mast3r_file_takes_no_encoder(mast3r_file: Path, dune_encoder: Path) -> None:
    with pytest.raises(CheckpointError, match='takes no encoder file'):
        read_checkpoint(mast3r_file, dune_encoder)


@pytest.mark.skipif(sys.platform != 'linux', reason='needs a Linux machine')
def test_reading_maps_the_file_instead_of_copying_it(mast3r_file: Path) -> None:
    """The private memory of a process that has read 180 MB grows by a small part of that."""
    script = """
import sys, torch
from mast3r_ros.models.checkpoints import read_checkpoint
def private_kb():
    return next(int(l.split()[1]) for l in open('/proc/self/status') if l.startswith('RssAnon'))
before = private_kb()
tensors = read_checkpoint(sys.argv[1]).tensors
total = sum(float(tensor.sum()) for tensor in tensors.values())
print(private_kb() - before)
"""
    answer = subprocess.run(
        [sys.executable, '-c', script, str(mast3r_file)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(answer.stdout) * 1024 < mast3r_file.stat().st_size / 3


def test_shapes_are_told_without_pytorch(mast3r_file: Path) -> None:
    script = """
import sys
sys.modules['torch'] = None
from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.checkpoints import read_checkpoint, read_outline
print(read_outline(sys.argv[1]).architecture.family)
try:
    read_checkpoint(sys.argv[1])
except CheckpointError as error:
    print(error)
"""
    answer = subprocess.run(
        [sys.executable, '-c', script, str(mast3r_file)],
        capture_output=True,
        text=True,
        check=True,
    )
    family, sentence = answer.stdout.strip().splitlines()
    assert family == 'mast3r'
    assert "pip install 'mast3r_ros[export]'" in sentence


def test_a_decoder_of_dune_needs_its_description(tmp_path: Path, dune_encoder: Path) -> None:
    decoder = save_dune_decoder(
        tmp_path / 'decoder.pth', mast3r_model_str=None, model=dune_decoder_tensors(torch.float16)
    )
    with pytest.raises(CheckpointError, match='mast3r_model_str'):
        read_outline(decoder, dune_encoder)
    decoder.unlink()


def test_a_decoder_of_dune_is_held_against_its_description(
    tmp_path: Path, dune_encoder: Path
) -> None:
    text = golden_case(DUNE)['model'].replace('dec_depth=10', 'dec_depth=11')
    decoder = save_dune_decoder(tmp_path / 'decoder.pth', mast3r_model_str=text)
    with pytest.raises(CheckpointError, match='dec_depth 11 where the shapes have 10'):
        read_outline(decoder, dune_encoder)
    decoder.unlink()


def test_an_ordered_dict_with_module_versions_is_read(tmp_path: Path) -> None:
    model = OrderedDict(golden_tensors(SMALL))
    model._metadata = {'': {'version': 1}}  # as Module.state_dict() leaves it
    assert_golden(
        read_checkpoint(save_published(tmp_path / 'a.pth', SMALL, model=model)).tensors, SMALL
    )


def test_the_description_of_hugging_face_is_the_model_string(tmp_path: Path) -> None:
    from mast3r_ros.models.safetensors_files import model_string_of

    for name in (MAST3R, SMALL):
        text = golden_case(name)['model']
        assert parse_model_string(model_string_of(json.loads(config_of(text)))) == (
            parse_model_string(text)
        )
