# SPDX-License-Identifier: Apache-2.0
"""The line of Python in a checkpoint is read, never run, and refused in words when it is odd."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.tiny_model import CASES, golden_case

from mast3r_ros.errors import InvalidInput
from mast3r_ros.models.model_string import ModelString, parse_model_string

MAST3R = (
    "AsymmetricMASt3R(pos_embed='RoPE100', patch_embed_cls='ManyAR_PatchEmbed', "
    "img_size=(512, 512), head_type='catmlp+dpt', output_mode='pts3d+desc24', "
    "depth_mode=('exp', -inf, inf), conf_mode=('exp', 1, inf), enc_embed_dim=1024, enc_depth=24, "
    'enc_num_heads=16, dec_embed_dim=768, dec_depth=12, dec_num_heads=12, two_confs=True, '
    "desc_conf_mode=('exp', 0, inf))"
)


def refusal(text: object) -> str:
    with pytest.raises(InvalidInput) as raised:
        parse_model_string(text)  # type: ignore[arg-type]
    return str(raised.value)


def test_the_published_string_is_understood() -> None:
    assert parse_model_string(MAST3R) == ModelString(
        'mast3r', 16, 1024, 24, 16, 768, 12, 12, 'dpt', 24
    )


@pytest.mark.parametrize('name', CASES)
def test_every_golden_string_is_understood(name: str) -> None:
    said = parse_model_string(golden_case(name).facts['model'])
    assert (said.dec_dim, said.dec_depth, said.dec_heads) == (48, 10, 3)
    assert said.head == ('linear' if 'linear' in name else 'dpt')
    assert said.desc_dim == (0 if 'dust3r' in name else 24)


def test_line_breaks_and_training_options_do_not_matter() -> None:
    text = MAST3R.replace(', ', ',\n   ').replace('two_confs', 'landscape_only=False, two_confs')
    assert parse_model_string(f'  {text}\n') == parse_model_string(MAST3R)


def test_how_patches_were_cut_in_training_need_not_be_said() -> None:
    text = MAST3R.replace("patch_embed_cls='ManyAR_PatchEmbed', ", '')
    assert text != MAST3R
    assert parse_model_string(text) == parse_model_string(MAST3R)
    assert "patch_embed_cls='Other'" in refusal(MAST3R.replace('ManyAR_PatchEmbed', 'Other'))


def test_a_dune_decoder_alone_is_no_architecture() -> None:
    said = parse_model_string(MAST3R.replace('enc_depth=24', 'enc_depth=0'))
    with pytest.raises(InvalidInput, match='DUNE decoder'):
        said.architecture()


@pytest.mark.parametrize(
    'code',
    [
        "__import__('pathlib').Path('{path}').touch()",
        '(lambda: open({path!r}, "w"))()',
        '[open({path!r}, "w") for _ in (1,)]',
    ],
)
def test_code_in_the_string_is_refused_and_not_run(code: str, tmp_path: Path) -> None:
    path = tmp_path / 'ran'
    text = MAST3R.replace('img_size=(512, 512)', f'img_size={code.format(path=str(path))}')
    assert 'img_size=' in refusal(text)
    assert 'ever run' in refusal(text)
    assert not path.exists()


@pytest.mark.parametrize(
    ('old', 'new', 'words'),
    [
        ('AsymmetricMASt3R', 'CroCoNet', 'the class CroCoNet; known are AsymmetricMASt3R'),
        (
            "pos_embed='RoPE100'",
            "pos_embed='cosine'",
            "pos_embed='cosine'; supported is 'RoPE100'",
        ),
        ('enc_depth=24', 'enc_depth=24.0', 'enc_depth=24.0; supported is a whole number'),
        ('enc_depth=24', 'enc_depth=True', 'enc_depth=True'),
        ('enc_depth=24', 'enc_depth=-1', 'enc_depth=-1'),
        ('enc_depth=24', 'enc_depth=inf', 'enc_depth=inf'),
        ('enc_depth=24, ', '', 'has no enc_depth'),
        ('enc_depth=24', 'enc_dpeth=24', 'the unknown enc_dpeth'),
        ("head_type='catmlp+dpt'", "head_type='dpt'", "head_type='dpt'"),
        ('desc24', 'desc16', "output_mode='pts3d+desc16'"),
        ("conf_mode=('exp', 1, inf)", "conf_mode=('exp', 0, inf)", "conf_mode=('exp', 0, inf)"),
        ('two_confs=True', 'two_confs=False', 'two_confs=False'),
        ('two_confs=True', 'two_confs=1', 'two_confs=1'),
        ('img_size=(512, 512)', 'img_size=size', 'img_size=size of the model string'),
        ('img_size=(512, 512)', '**options', 'arguments without a name'),
        ("pos_embed='RoPE100'", "'RoPE100'", 'arguments without a name'),
    ],
)
def test_what_is_wrong_with_a_string_is_named(old: str, new: str, words: str) -> None:
    assert old in MAST3R
    assert words in refusal(MAST3R.replace(old, new, 1))


@pytest.mark.parametrize(
    'text',
    [
        '',
        'AsymmetricMASt3R',
        'AsymmetricMASt3R(',
        'a.b()',
        '1',
        'x = 1',
        '\0',
        '(' * 9000,
        '-' * 9999,
    ],
)
def test_what_is_no_call_is_refused(text: str) -> None:
    assert 'does not read like' in refusal(text)


@pytest.mark.parametrize('text', [None, 3, b'AsymmetricMASt3R()', 'x' * 20_000])
def test_what_is_no_text_of_sensible_length_is_refused(text: object) -> None:
    assert 'at most 10000 characters' in refusal(text)


def test_deeply_nested_values_are_refused() -> None:
    text = MAST3R.replace('img_size=(512, 512)', 'img_size=' + '-' * 3000 + '1')
    assert refusal(text)
