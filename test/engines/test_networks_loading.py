# SPDX-License-Identifier: Apache-2.0
"""Weights go into a network whole or not at all, and what does not fit is named."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

torch = pytest.importorskip('torch')

from support.network_runs import (  # noqa: E402  # it needs PyTorch
    DUNE,
    DUST3R_LINEAR,
    MAST3R,
    picture,
    run_raw,
    seeded_stages,
    seeded_weights,
)

from mast3r_ros.errors import CheckpointError  # noqa: E402
from mast3r_ros.models.architecture import Architecture  # noqa: E402
from mast3r_ros.models.networks.loading import load_weights  # noqa: E402
from mast3r_ros.models.networks.stages import Stages, build_stages  # noqa: E402
from mast3r_ros.models.official_keys import (  # noqa: E402
    is_unused,
    official_shapes,
    parameter_name,
)

QKV = 'enc_blocks.1.attn.qkv.weight'
ALIAS = 'downstream_head1.dpt.scratch.layer_rn.2.weight'
FIRST_NAME = 'downstream_head1.dpt.scratch.layer3_rn.weight'


def stages_of(architecture: Architecture) -> Stages:
    shape = (2 * architecture.patch_px, 3 * architecture.patch_px)
    return build_stages(architecture, shape, shape)


def assert_refused(tensors: dict[str, torch.Tensor], *words: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        load_weights(stages_of(MAST3R), tensors)
    assert [word for word in words if word not in str(raised.value)] == []


def test_a_missing_tensor_is_named() -> None:
    tensors = seeded_weights(MAST3R)
    del tensors[QKV]
    assert_refused(tensors, f'1 tensor is missing ({QKV})')


def test_an_unexpected_tensor_is_named() -> None:
    extra = {'enc_blocks.2.norm1.weight': torch.ones(64), 'classifier': torch.ones(2)}
    assert_refused(
        seeded_weights(MAST3R) | extra,
        '2 tensors are unexpected (enc_blocks.2.norm1.weight, classifier)',
    )


def test_a_tensor_of_another_shape_is_named_with_both_shapes() -> None:
    changed = {QKV: torch.ones(192, 65), 'dec_norm.bias': torch.ones(())}
    assert_refused(
        seeded_weights(MAST3R) | changed, f'{QKV} is 192x65, not 192x64', 'a single number, not 48'
    )


def test_a_transposed_weight_is_refused_though_it_has_as_many_numbers() -> None:
    assert_refused(
        seeded_weights(MAST3R) | {QKV: torch.ones(64, 192)}, f'{QKV} is 64x192, not 192x64'
    )


def test_quantised_numbers_are_refused() -> None:
    whole = torch.ones(192, 64, dtype=torch.int8)
    assert_refused(seeded_weights(MAST3R) | {QKV: whole}, f'{QKV} holds int8, not real numbers')


def test_of_many_differences_the_first_are_shown_and_all_are_counted() -> None:
    tensors = seeded_weights(MAST3R)
    kept = {key: tensor for key, tensor in tensors.items() if '.norm1.' not in key}
    dropped = sorted(tensors.keys() - kept.keys())
    with pytest.raises(CheckpointError, match=rf'{len(dropped)} tensors are missing') as raised:
        load_weights(stages_of(MAST3R), kept)
    assert sum(key in str(raised.value) for key in dropped) == 3
    assert ', ...)' in str(raised.value)


def test_weights_of_another_network_are_refused() -> None:
    assert_refused(seeded_weights(DUST3R_LINEAR), 'missing', 'unexpected (downstream_head1.proj')


def test_an_empty_file_is_refused() -> None:
    assert_refused({}, 'are missing')


def test_a_network_that_cannot_be_filled_is_left_as_it_was() -> None:
    stages = seeded_stages(MAST3R, (32, 48))
    before = run_raw(stages, picture((32, 48)), picture((32, 48)))
    tensors = {key: tensor + 1 for key, tensor in seeded_weights(MAST3R).items()}
    del tensors[QKV]
    with pytest.raises(CheckpointError):
        load_weights(stages, tensors)
    after = run_raw(stages, picture((32, 48)), picture((32, 48)))
    assert (after['points_1'] == before['points_1']).all()


@functools.cache
def expected_answers(architecture: Architecture) -> dict[str, Any]:
    shape = (2 * architecture.patch_px, 3 * architecture.patch_px)
    return run_raw(seeded_stages(architecture, shape), picture(shape), picture(shape, 1))


def same_answers(architecture: Architecture, tensors: dict[str, torch.Tensor]) -> bool:
    shape = (2 * architecture.patch_px, 3 * architecture.patch_px)
    expected = expected_answers(architecture)
    stages = build_stages(architecture, shape, shape)
    load_weights(stages, tensors)
    answers = run_raw(stages, picture(shape), picture(shape, 1))
    return all((answers[key] == expected[key]).all() for key in expected)


@pytest.mark.parametrize('absent', ['scratch.layer_rn.', 'scratch.layer1_rn'])
def test_either_name_of_a_tensor_with_two_will_do(absent: str) -> None:
    tensors = seeded_weights(MAST3R)
    kept = {key: tensor for key, tensor in tensors.items() if absent not in key}
    assert len(kept) < len(tensors)
    assert same_answers(MAST3R, kept)


def test_two_names_of_a_tensor_that_differ_are_refused() -> None:
    tensors = seeded_weights(MAST3R)
    tensors[ALIAS] = tensors[ALIAS] + 1
    assert_refused(tensors, ALIAS, FIRST_NAME, 'they differ')


@pytest.mark.parametrize(
    'spelling',
    [
        lambda key: re.sub(r'^dune_backbone\.(blocks\.0\.(?=\d))?', _encoder, key),
        lambda key: key.replace('dune_backbone.', 'encoder.'),
        lambda key: key.removeprefix('mast3r.'),
    ],
    ids=['as read from two files', 'with the chunk of blocks', 'without the prefix'],
)
def test_every_spelling_of_dune_weights_is_understood(spelling: Callable[[str], str]) -> None:
    renamed = {spelling(key): tensor for key, tensor in seeded_weights(DUNE).items()}
    assert renamed.keys() != seeded_weights(DUNE).keys()
    assert same_answers(DUNE, renamed)


def _encoder(found: re.Match[str]) -> str:
    return 'encoder.blocks.' if found[1] else 'encoder.'


@pytest.mark.parametrize(
    'unused',
    ['mask_token', 'imagenet_', 'dune_backbone.norm.', 'mast3r.enc_norm.', 'mast3r.patch_embed.'],
)
def test_tensors_that_no_answer_depends_on_may_be_absent(unused: str) -> None:
    tensors = seeded_weights(DUNE)
    kept = {key: tensor for key, tensor in tensors.items() if unused not in key}
    assert len(kept) < len(tensors)
    assert same_answers(DUNE, kept)


def test_registers_that_the_architecture_does_not_know_are_refused() -> None:
    without = Architecture(**{**DUNE.to_dict(), 'registers': 0})
    with pytest.raises(CheckpointError, match=r'unexpected \(dune_backbone.register_tokens\)'):
        load_weights(stages_of(without), seeded_weights(DUNE))


def test_weights_in_half_precision_are_taken() -> None:
    tensors = {key: tensor.half() for key, tensor in seeded_weights(MAST3R).items()}
    stages = stages_of(MAST3R)
    load_weights(stages, tensors)
    assert {p.dtype for p in stages.decoder.parameters()} == {torch.float32}


LARGE = Architecture('mast3r', 16, 1024, 24, 16, 768, 12, 12, 'dpt', 24)
PUBLISHED = {
    'mast3r': LARGE,
    'dust3r dpt': replace(LARGE, family='dust3r', desc_dim=0),
    'dust3r linear': replace(LARGE, family='dust3r', desc_dim=0, head='linear'),
    'dune': Architecture('dune', 14, 384, 12, 6, 768, 12, 12, 'dpt', 24, position_side=32),
}


@pytest.mark.parametrize('name', PUBLISHED)
def test_networks_of_published_size_have_a_place_for_every_tensor(name: str) -> None:
    architecture = PUBLISHED[name]
    with torch.device('meta'):  # shapes without memory
        stages = stages_of(architecture)
    numbers = {
        key: parameter.numel()
        for stage in stages.named().values()
        for key, parameter in stage.named_parameters()
    }
    baked = {'encoder.cls_token', 'encoder.pos_embed'} if architecture.is_dune else set()
    expected = {
        parameter_name(key): math.prod(shape)
        for key, shape in official_shapes(architecture).items()
        if not is_unused(key, architecture) and key not in baked
    }
    if architecture.head == 'dpt':  # a bias for every pixel that a token spreads to
        for view in (1, 2):
            for level, pixels in ((0, 16), (1, 4)):
                expected[f'downstream_head{view}.dpt.act_postprocess.{level}.1.bias'] *= pixels
    assert numbers == expected
