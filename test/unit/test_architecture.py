# SPDX-License-Identifier: Apache-2.0
"""An architecture is checked when it is made, and says which tensors its published file holds."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
from support.seeded_weights import all_official_shapes, seeded_tensor
from support.tiny_model import CASES, golden_case

from mast3r_ros.errors import InvalidInput
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.official_keys import is_unused, official_shapes, parameter_name

LARGE = Architecture('mast3r', 16, 1024, 24, 16, 768, 12, 12, 'dpt', 24)
DUST3R_DPT = replace(LARGE, family='dust3r', desc_dim=0)
DUST3R_LINEAR = replace(DUST3R_DPT, head='linear')
DUNE_SMALL = Architecture('dune', 14, 384, 12, 6, 768, 12, 12, 'dpt', 24, position_side=32)
DUNE_BASE = replace(DUNE_SMALL, enc_dim=768, enc_heads=12)


def count(architecture: Architecture, prefix: str = '') -> int:
    shapes = official_shapes(architecture)
    return sum(math.prod(shape) for key, shape in shapes.items() if key.startswith(prefix))


@pytest.mark.parametrize(
    ('architecture', 'parameters'),
    [(LARGE, 688_638_856), (DUST3R_DPT, 571_171_208), (DUST3R_LINEAR, 532_342_784)],
    ids=['mast3r', 'dust3r dpt', 'dust3r linear'],
)
def test_published_networks_have_their_number_of_parameters(
    architecture: Architecture, parameters: int
) -> None:
    assert count(architecture) == parameters


@pytest.mark.parametrize(
    ('architecture', 'encoder', 'decoder'),
    [(DUNE_SMALL, 21.9e6, 323.48e6), (DUNE_BASE, 86.3e6, 347.39e6)],
    ids=['small', 'base'],
)
def test_published_dune_files_have_their_numbers_of_parameters(
    architecture: Architecture, encoder: float, decoder: float
) -> None:
    assert count(architecture, 'encoder.') == pytest.approx(encoder, rel=2e-3)
    assert count(architecture) - count(architecture, 'encoder.') == pytest.approx(decoder, abs=5e3)


def test_the_largest_network_has_its_number_of_names() -> None:
    assert len(all_official_shapes(LARGE)) == 1017  # second names included


@pytest.mark.parametrize('name', CASES)
def test_names_and_shapes_are_those_of_the_official_code(name: str) -> None:
    case = golden_case(name)
    expected = {key: tuple(shape) for key, shape in case.facts['keys'].items()}
    assert all_official_shapes(case.architecture) == expected


@pytest.mark.parametrize(
    ('key', 'name'),
    [
        ('dec_blocks.0.norm1.bias', 'dec_blocks.0.norm1.bias'),
        ('mast3r.dec_blocks.0.norm1.bias', 'dec_blocks.0.norm1.bias'),
        ('dune_backbone.blocks.0.11.ls1.gamma', 'encoder.blocks.11.ls1.gamma'),
        ('encoder.blocks.0.3.norm1.bias', 'encoder.blocks.3.norm1.bias'),
        ('encoder.blocks.3.norm1.bias', 'encoder.blocks.3.norm1.bias'),
        ('encoder.blocks.0.norm1.bias', 'encoder.blocks.0.norm1.bias'),
        (
            'mast3r.downstream_head2.dpt.scratch.layer_rn.3.weight',
            'downstream_head2.dpt.scratch.layer4_rn.weight',
        ),
    ],
)
def test_every_spelling_leads_to_one_name(key: str, name: str) -> None:
    assert parameter_name(key) == name


def test_unused_tensors_depend_on_the_family() -> None:
    assert not is_unused('enc_norm.weight', LARGE)
    assert is_unused('mast3r.enc_norm.weight', DUNE_SMALL)
    assert is_unused('mask_token', LARGE)
    assert is_unused('dune_backbone.norm.bias', DUNE_SMALL)
    assert not is_unused('norm.bias', DUNE_SMALL)
    for unit, unused in (('resConfUnit1', True), ('resConfUnit2', False)):
        key = f'downstream_head1.dpt.scratch.refinenet4.{unit}.conv1.weight'
        assert is_unused(key, LARGE) is unused


@pytest.mark.parametrize('architecture', [LARGE, DUST3R_LINEAR, DUNE_BASE])
def test_an_architecture_survives_json(architecture: Architecture) -> None:
    assert Architecture.from_dict(json.loads(json.dumps(architecture.to_dict()))) == architecture


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'family': 'croco'}, "family = 'croco'"),
        ({'head': 'mlp'}, "head = 'mlp'"),
        ({'patch_px': 15}, 'patch_px = 15'),
        ({'patch_px': True}, 'patch_px = True'),
        ({'enc_depth': 0}, 'enc_depth = 0'),
        ({'enc_dim': '1024'}, "enc_dim = '1024'"),
        ({'dec_dim': 768.0}, 'dec_dim = 768.0'),
        ({'desc_dim': -1}, 'desc_dim = -1'),
        ({'enc_heads': 7}, 'enc_heads = 7'),
        ({'dec_heads': 384}, 'dec_heads = 384'),
        ({'position_side': 32}, 'position_side = 32'),
        ({'dec_depth': 3}, 'dec_depth = 3'),
        ({'head': 'linear'}, 'desc_dim = 24'),
        ({'interpolate_offset': float('nan')}, 'interpolate_offset = nan'),
        ({'interpolate_offset': 1}, 'interpolate_offset = 1'),
        ({'interpolate_antialias': 1}, 'interpolate_antialias = 1'),
        ({'colour': 1}, 'unknown fields: colour'),
        ({'family': ['mast3r']}, "family = ['mast3r']"),
    ],
)
def test_a_wrong_architecture_is_refused_by_name_and_value(
    change: dict[str, object], words: str
) -> None:
    with pytest.raises(InvalidInput) as raised:
        Architecture.from_dict(LARGE.to_dict() | change)
    assert words in str(raised.value)


def test_an_architecture_with_a_field_missing_is_refused() -> None:
    values = LARGE.to_dict()
    del values['dec_heads']
    with pytest.raises(InvalidInput, match='missing fields: dec_heads'):
        Architecture.from_dict(values)


def test_a_dune_network_without_positions_is_refused() -> None:
    with pytest.raises(InvalidInput, match='position_side = 0'):
        replace(DUNE_SMALL, position_side=0)


def test_the_heads_hook_into_the_published_depths() -> None:
    assert LARGE.hooks == (0, 6, 9, 12)


def test_the_token_grid_counts_patches() -> None:
    assert LARGE.token_grid(384, 512) == (24, 32)
    assert DUNE_SMALL.token_grid(252, 336) == (18, 24)


@pytest.mark.parametrize('shape', [(384, 500), (380, 512), (0, 512), (-16, 16)])
def test_a_shape_that_is_no_whole_number_of_patches_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(InvalidInput, match=f'{shape[1]}x{shape[0]} pixels .* multiples of 16'):
        LARGE.token_grid(*shape)


def test_seeded_tensors_depend_on_name_and_seed_alone() -> None:
    one = seeded_tensor('dec_norm.weight', (4,), 1)
    assert (one == seeded_tensor('dec_norm.weight', (4,), 1)).all()
    assert (one != seeded_tensor('dec_norm.weight', (4,), 2)).any()
    assert (one != seeded_tensor('enc_norm.weight', (4,), 1)).any()
