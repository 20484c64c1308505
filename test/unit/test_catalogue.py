# SPDX-License-Identifier: Apache-2.0
"""The catalogue knows every network, and tells a published file from any other."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mast3r_ros.choices import ModelVariant
from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.catalogue import MODELS, PublishedModel, published_model
from mast3r_ros.models.dune_pair import EncoderName, encoder_name
from mast3r_ros.models.official_keys import official_shapes
from mast3r_ros.models.published_check import check_published

# As counted on the published networks.
PARAMETERS = {
    ModelVariant.MAST3R_VIT_LARGE: 688_638_856,
    ModelVariant.DUST3R_512_DPT: 571_171_208,
    ModelVariant.DUST3R_512_LINEAR: 532_342_784,
    ModelVariant.DUST3R_224_LINEAR: 532_342_784,
}
DECODER_MILLIONS = {ModelVariant.DUNE_VIT_SMALL: 323.48, ModelVariant.DUNE_VIT_BASE: 347.39}


def architecture_of(model: PublishedModel) -> Architecture:
    """Return the architecture of a published network."""
    values: dict[str, Any] = dict(model.dimensions)
    values.setdefault('enc_heads', values['enc_dim'] // 64)
    return Architecture(**values, position_side=32 if values['family'] == 'dune' else 0)


@pytest.mark.parametrize('variant', ModelVariant)
def test_every_network_is_known(variant: ModelVariant) -> None:
    model = published_model(variant)
    assert model.variant is variant
    assert model.patch_px == model.dimensions['patch_px']
    assert model.metric == architecture_of(model).metric
    assert model.licences
    assert len(model.files) == (2 if model.dimensions['family'] == 'dune' else 1)


@pytest.mark.parametrize('variant', PARAMETERS)
def test_dimensions_and_sizes_are_those_of_the_published_networks(variant: ModelVariant) -> None:
    model = published_model(variant)
    shapes = official_shapes(architecture_of(model))
    count = sum(math.prod(shape) for shape in shapes.values())
    assert count == PARAMETERS[variant]
    for file in (model.files[0], *model.hugging_face[1:]):
        assert file.about_bytes == pytest.approx(4 * count, rel=0.001)


@pytest.mark.parametrize('variant', DECODER_MILLIONS)
def test_dimensions_and_sizes_are_those_of_the_published_decoders(variant: ModelVariant) -> None:
    model = published_model(variant)
    shapes = official_shapes(architecture_of(model))
    count = sum(math.prod(v) for name, v in shapes.items() if not name.startswith('encoder.'))
    assert count / 1e6 == pytest.approx(DECODER_MILLIONS[variant], abs=0.006)
    assert model.files[0].about_bytes == pytest.approx(4 * count, rel=0.001)


def test_files_have_safe_names_and_encrypted_addresses() -> None:
    for model in MODELS.values():
        for file in (*model.files, *model.hugging_face):
            assert re.fullmatch(r'[\w.-]+(/[\w.-]+)?', file.path)
            assert '..' not in file.path
            for address in file.addresses:
                assert urlsplit(address).scheme == 'https'
                assert address.endswith('/' + file.name)


def test_files_of_different_networks_have_different_places() -> None:
    places = [f.path for m in MODELS.values() for f in (*m.files, *m.hugging_face)]
    assert len(places) == len(set(places))


@pytest.mark.parametrize('variant', ModelVariant)
def test_a_network_is_told_by_its_dimensions(variant: ModelVariant) -> None:
    architecture = architecture_of(published_model(variant))
    published_model(variant).check(architecture)
    alike = {ModelVariant.DUST3R_224_LINEAR, ModelVariant.DUST3R_512_LINEAR}
    for other in ModelVariant:
        if other is not variant and {other, variant} != alike:
            with pytest.raises(
                CheckpointError, match=f'are not {other.value}: .* own variant, or none'
            ):
                published_model(other).check(architecture)


def test_weights_are_looked_for_as_pth_then_as_safetensors(tmp_path: Path) -> None:
    model = published_model(ModelVariant.MAST3R_VIT_LARGE)
    name = model.files[0].name.removesuffix('.pth')
    pth = tmp_path / 'checkpoints' / f'{name}.pth'
    safetensors = tmp_path / 'checkpoints' / name / 'model.safetensors'
    assert model.paths(tmp_path) == (pth,)
    safetensors.parent.mkdir(parents=True)
    safetensors.touch()
    assert model.paths(tmp_path) == (safetensors,)
    pth.touch()
    assert model.paths(tmp_path) == (pth,)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('dune_vitbase_14_448_paper_encoder', EncoderName('base', 14, 448, True)),
        ('dune_vitbase14_448_paper', EncoderName('base', 14, 448, True)),
        ('dune_vitsmall14_336', EncoderName('small', 14, 336, False)),
        ('dune_vitsmall_14_448_encoder', EncoderName('small', 14, 448, False)),
        ('dinov2_vitb14', None),
        ('', None),
    ],
)
def test_names_of_encoders_are_understood(text: str, expected: EncoderName | None) -> None:
    assert encoder_name(text) == expected


def test_names_of_encoders_lead_to_the_catalogues_files() -> None:
    for variant in DECODER_MILLIONS:
        name = published_model(variant).files[1].name
        found = encoder_name(name.removesuffix('.pth'))
        assert found is not None
        assert found.file_name == name


# --- A file against its entry -------------------------------------------------------------------


@pytest.fixture(scope='module')
def dune(tmp_path_factory: pytest.TempPathFactory) -> tuple[PublishedModel, Path, Path]:
    """A small DUNE network with an entry of its own, and its two files."""
    pytest.importorskip('torch')
    from support.checkpoint_files import save_dune_decoder, save_dune_encoder

    folder = tmp_path_factory.mktemp('dune')
    model = published_model(ModelVariant.DUNE_VIT_SMALL)
    decoder, encoder = model.files
    tiny = {'enc_dim': 64, 'enc_depth': 3, 'dec_dim': 48, 'dec_depth': 10, 'dec_heads': 3}
    files = (decoder, replace(encoder, path='dune_vittiny14_84.pth'))
    return (
        replace(model, files=files, dimensions={**model.dimensions, **tiny}),
        save_dune_decoder(folder / decoder.name),
        save_dune_encoder(folder / 'dune_vittiny14_84.pth'),
    )


def test_both_files_of_a_dune_network_are_recognised(
    dune: tuple[PublishedModel, Path, Path],
) -> None:
    model, decoder, encoder = dune
    check_published(decoder, model, model.files[0])
    check_published(encoder, model, model.files[1])


def test_checking_tells_how_far_it_is(dune: tuple[PublishedModel, Path, Path]) -> None:
    model, _, encoder = dune
    told: list[int] = []
    check_published(encoder, model, model.files[1], told.append)
    assert 0.5 * encoder.stat().st_size < sum(told) <= encoder.stat().st_size


def test_the_halves_of_a_dune_network_are_not_mistaken_for_each_other(
    dune: tuple[PublishedModel, Path, Path],
) -> None:
    model, decoder, encoder = dune
    for path, file in ((encoder, model.files[0]), (decoder, model.files[1])):
        with pytest.raises(CheckpointError, match='the other half'):
            check_published(path, model, file)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda file: replace(file, path='dune_vittiny14_336.pth'), 'it was trained at 84 px'),
        (lambda file: replace(file, path='dune_vittiny14_84.pth'), 'enc_depth 3 instead of 12'),
    ],
)
def test_an_encoder_of_another_size_is_refused(
    change: Callable[[Any], Any], words: str, dune: tuple[PublishedModel, Path, Path]
) -> None:
    model, _, encoder = dune
    file = change(model.files[1])
    dimensions = {**model.dimensions, 'enc_depth': 12}
    model = replace(model, files=(model.files[0], file), dimensions=dimensions)
    with pytest.raises(CheckpointError, match=words):
        check_published(encoder, model, file)
