# SPDX-License-Identifier: Apache-2.0
"""The line of Python in which a published checkpoint says what its network looks like.

It is read as text, never run: a checkpoint is somebody else's file.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from math import inf

from mast3r_ros.errors import InvalidInput
from mast3r_ros.models.architecture import Architecture

_FAMILIES = {'AsymmetricMASt3R': 'mast3r', 'AsymmetricCroCo3DStereo': 'dust3r'}
_WHOLE_NUMBERS = (
    'enc_embed_dim',
    'enc_depth',
    'enc_num_heads',
    'dec_embed_dim',
    'dec_depth',
    'dec_num_heads',
)
# What the networks here can do; a model that was trained otherwise would answer nonsense.
_ALLOWED: dict[str, tuple[object, ...]] = {
    'pos_embed': ('RoPE100',),
    'patch_embed_cls': ('ManyAR_PatchEmbed', 'PatchEmbedDust3R'),  # inference is the same
    'depth_mode': (('exp', -inf, inf),),
    'conf_mode': (('exp', 1, inf),),
    'landscape_only': (True, False),  # of training; inference is the same
}
_ALLOWED_BY_FAMILY: dict[str, dict[str, tuple[object, ...]]] = {
    'mast3r': {
        'head_type': ('catmlp+dpt',),
        'output_mode': ('pts3d+desc24',),
        'two_confs': (True,),
        'desc_conf_mode': (('exp', 0, inf),),
    },
    'dust3r': {'head_type': ('dpt', 'linear'), 'output_mode': ('pts3d',)},
}
_OPTIONAL = ('landscape_only', 'img_size', 'patch_size', 'patch_embed_cls')
_MAX_LENGTH = 10_000  # characters


@dataclass(frozen=True)
class ModelString:
    """What a model string says; a DUNE decoder's leaves the encoder open (``enc_depth`` is 0)."""

    family: str
    patch_px: int
    enc_dim: int
    enc_depth: int
    enc_heads: int
    dec_dim: int
    dec_depth: int
    dec_heads: int
    head: str
    desc_dim: int

    def architecture(self) -> Architecture:
        """Return the architecture; a DUNE decoder's string alone does not tell it all."""
        if self.enc_depth == 0:
            raise InvalidInput(
                'the model string has enc_depth=0: it belongs to a DUNE decoder, whose encoder '
                'lies in a file of its own; give that file too'
            )
        return Architecture(**vars(self))


def parse_model_string(text: str) -> ModelString:
    """Return what the model string of a checkpoint says, without running it.

    Raises :class:`InvalidInput` that names what is unknown, missing or not supported.
    """
    name, values = _parse_call(text)
    if name not in _FAMILIES:
        known = ' and '.join(_FAMILIES)
        raise InvalidInput(f'the model string names the class {name}; known are {known}')
    family = _FAMILIES[name]
    allowed = _ALLOWED | _ALLOWED_BY_FAMILY[family]
    _check_names(name, set(values), set(allowed))
    for keyword, choices in allowed.items():
        if keyword in values and not _is_one_of(values[keyword], choices):
            expected = ' or '.join(map(repr, choices))
            raise _unsupported(keyword, values[keyword], expected)
    number = {keyword: _whole_number(keyword, values[keyword]) for keyword in _WHOLE_NUMBERS}
    return ModelString(
        family=family,
        patch_px=_whole_number('patch_size', values.get('patch_size', 16)),
        enc_dim=number['enc_embed_dim'],
        enc_depth=number['enc_depth'],
        enc_heads=number['enc_num_heads'],
        dec_dim=number['dec_embed_dim'],
        dec_depth=number['dec_depth'],
        dec_heads=number['dec_num_heads'],
        head='linear' if values['head_type'] == 'linear' else 'dpt',
        desc_dim=24 if family == 'mast3r' else 0,
    )


def _parse_call(text: str) -> tuple[str, dict[str, object]]:
    if not isinstance(text, str) or len(text) > _MAX_LENGTH:
        raise InvalidInput(
            f'the model string must be a text of at most {_MAX_LENGTH} characters that reads '
            f'like a call, not {text if isinstance(text, (int, float)) else type(text).__name__}'
        )
    try:
        call = ast.parse(text.strip(), mode='eval').body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name):
        raise InvalidInput(
            f'the model string {text[:60]!r} does not read like AsymmetricMASt3R(...), '
            'as that of every published checkpoint does; the file is of another kind'
        )
    if call.args or any(keyword.arg is None for keyword in call.keywords):
        raise InvalidInput(
            f'the model string of {call.func.id} has arguments without a name; all must be '
            'written as name=value'
        )
    return call.func.id, {
        str(word.arg): _literal(str(word.arg), word.value) for word in call.keywords
    }


def _literal(keyword: str, node: ast.expr) -> object:
    """Return a plain value; ``inf`` is one too, calls and names are not."""
    if isinstance(node, ast.Tuple):
        return tuple(_literal(keyword, element) for element in node.elts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _literal(keyword, node.operand)
        if isinstance(value, (int, float)):
            return -value
    elif isinstance(node, ast.Name) and node.id == 'inf':
        return inf
    elif isinstance(node, ast.Constant):
        return node.value
    raise InvalidInput(
        f'{keyword}={ast.unparse(node)[:60]} of the model string is not a plain value; '
        'nothing in a checkpoint is ever run'
    )


def _check_names(name: str, given: set[str], choices: set[str]) -> None:
    optional = set(_OPTIONAL)
    for text, wrong in (
        ('the unknown', given - choices - optional - set(_WHOLE_NUMBERS)),
        ('no', (choices | set(_WHOLE_NUMBERS)) - optional - given),
    ):
        if wrong:
            raise InvalidInput(f'the model string of {name} has {text} {", ".join(sorted(wrong))}')


def _is_one_of(value: object, choices: tuple[object, ...]) -> bool:
    return any(value == choice and type(value) is type(choice) for choice in choices)


def _whole_number(keyword: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _unsupported(keyword, value, 'a whole number')
    return value


def _unsupported(keyword: str, value: object, expected: str) -> InvalidInput:
    return InvalidInput(
        f'the model string has {keyword}={value!r}; supported is {expected}: the file belongs to '
        'a network of another make'
    )
