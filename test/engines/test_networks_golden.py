# SPDX-License-Identifier: Apache-2.0
"""The networks in PyTorch answer what the official code answers, on the same made-up weights."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip('torch')

from support.network_runs import (  # noqa: E402  # it needs PyTorch
    DUNE,
    MAST3R,
    SMALL,
    golden_stages,
    picture,
    relative_error,
    run_finished,
    run_raw,
    seeded_stages,
)
from support.tiny_model import CASES, golden_case  # noqa: E402

from mast3r_ros.models.networks.stages import build_stages  # noqa: E402

WORST = 1e-5


def test_the_golden_cases_are_all_there() -> None:
    assert len(CASES) == 8


@pytest.mark.parametrize('name', CASES)
def test_every_answer_is_that_of_the_official_code(name: str) -> None:
    case = golden_case(name)
    images = (torch.from_numpy(case.arrays[view][None]) for view in ('view1', 'view2'))
    answers = run_finished(golden_stages(case), *images)
    assert {'view1', 'view2', *answers} == set(case.arrays)
    errors = {key: relative_error(array, case.arrays[key]) for key, array in answers.items()}
    assert {key: error for key, error in errors.items() if not error <= WORST} == {}


@pytest.mark.parametrize('family', SMALL)
def test_raw_answers_are_float32_pictures_with_channels_last(family: str) -> None:
    architecture = SMALL[family]
    shape = (3 * architecture.patch_px, 5 * architecture.patch_px)  # an odd grid
    raw = run_raw(seeded_stages(architecture, shape), picture(shape), picture(shape, 1))
    channels = {'points': 4, 'descriptors': 25}
    for name in raw.keys() - {'feat_1'}:
        assert raw[name].shape == (*shape, channels[name[:-2]])
        assert raw[name].dtype == np.float32
        assert raw[name].flags.c_contiguous  # post-processing reads it in place


@pytest.mark.parametrize('family', SMALL)
def test_a_batch_is_encoded_as_its_pictures_one_by_one(family: str) -> None:
    architecture = SMALL[family]
    shape = (2 * architecture.patch_px, 4 * architecture.patch_px)
    stages, images = seeded_stages(architecture, shape), picture(shape, batch=3)
    together = stages.encoder_1(images)
    for index in range(3):
        alone = stages.encoder_1(images[index : index + 1])
        assert relative_error(together[index], alone[0]) < WORST


def test_swapping_the_views_is_not_the_same_network() -> None:
    """Each view has its own decoder and heads."""
    stages = seeded_stages(MAST3R, (32, 48))
    first = run_raw(stages, picture((32, 48)), picture((32, 48), 1))
    swapped = run_raw(stages, picture((32, 48), 1), picture((32, 48)))
    assert relative_error(swapped['points_2'], first['points_1']) > 0.1


@pytest.mark.parametrize('architecture', [MAST3R, DUNE], ids=['mast3r', 'dune'])
def test_encoders_of_two_shapes_share_their_weights(architecture) -> None:
    side = architecture.patch_px
    stages = build_stages(architecture, (2 * side, 4 * side), (4 * side, 2 * side))
    assert stages.encoder_1 is not stages.encoder_2
    second = dict(stages.encoder_2.named_parameters())
    for name, parameter in stages.encoder_1.named_parameters():
        assert second[name] is parameter


def test_views_of_one_shape_share_the_encoder() -> None:
    stages = build_stages(MAST3R, (32, 48), (32, 48))
    assert stages.encoder_1 is stages.encoder_2
    assert 'encoder_2' not in stages.named()


@pytest.mark.parametrize('family', SMALL)
def test_names_of_weights_are_unique_and_the_same_for_every_shape(family: str) -> None:
    architecture, shapes = SMALL[family], []
    side = architecture.patch_px
    for shape in ((2 * side, 4 * side), (3 * side, 3 * side)):
        stages = build_stages(architecture, shape, shape)
        named = [
            (name, tuple(parameter.shape))
            for stage in stages.named().values()
            for name, parameter in stage.named_parameters()
        ]
        assert len(dict(named)) == len(named)
        shapes.append(named)
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ('family', 'path', 'eps'),
    [
        ('mast3r', 'enc_blocks.0.norm1', 1e-6),
        ('mast3r', 'enc_norm', 1e-6),
        ('dune', 'encoder.blocks.0.norm2', 1e-6),
        ('dune', 'norm', 1e-5),  # it belongs to the decoder's file
    ],
)
def test_norms_of_faint_tokens_have_the_published_epsilon(
    family: str, path: str, eps: float
) -> None:
    """The golden pictures make tokens too strong to tell one epsilon from the other."""
    side = SMALL[family].patch_px
    norm = build_stages(SMALL[family], (side, side), (side, side)).encoder_1.get_submodule(path)
    norm.weight.fill_(1.0)
    norm.bias.zero_()
    tokens = 1e-3 * np.random.default_rng(0).standard_normal((5, 64))
    expected = tokens - tokens.mean(axis=1, keepdims=True)
    expected /= np.sqrt(tokens.var(axis=1, keepdims=True) + eps)
    assert relative_error(norm(torch.from_numpy(tokens)), expected) < WORST


@pytest.mark.parametrize('family', SMALL)
def test_stages_are_for_inference_only(family: str) -> None:
    side = SMALL[family].patch_px
    for stage in build_stages(SMALL[family], (2 * side,) * 2, (2 * side,) * 2).named().values():
        assert not stage.training
        assert not any(parameter.requires_grad for parameter in stage.parameters())


def test_a_dune_pair_of_two_shapes_answers_as_its_encoders_do_alone() -> None:
    """The official code cannot take one; ours must not mix up the two grids."""
    wide, tall = (28, 56), (56, 28)
    mixed = seeded_stages(DUNE, wide, tall)
    alone = seeded_stages(DUNE, tall)
    image = picture(tall)
    assert relative_error(mixed.encoder_2(image), alone.encoder_1(image)) < WORST
    raw = run_raw(mixed, picture(wide), image)
    assert raw['points_1'].shape == (*wide, 4)
    assert raw['points_2'].shape == (*tall, 4)
