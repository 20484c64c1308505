# SPDX-License-Identifier: Apache-2.0
"""Two files make one DUNE network, and those of two trainings only with permission."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')

from support.checkpoint_files import (  # noqa: E402  # it needs PyTorch
    DUNE,
    config_of,
    dune_decoder_tensors,
    dune_encoder_tensors,
    golden_case,
    golden_tensors,
    save_dune_decoder,
    save_dune_encoder,
)

from mast3r_ros.errors import CheckpointError  # noqa: E402
from mast3r_ros.models.checkpoints import read_checkpoint, read_outline  # noqa: E402
from mast3r_ros.models.official_keys import parameter_name  # noqa: E402


@pytest.fixture(scope='module')
def dune_decoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_dune_decoder(tmp_path_factory.mktemp('dune') / 'dunemast3r_cvpr25_vittiny.pth')


@pytest.fixture
def dune_encoder(tmp_path: Path) -> Path:
    return save_dune_encoder(tmp_path / 'dune_vittiny14_84.pth')


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
