# SPDX-License-Identifier: Apache-2.0
"""What a network of the MASt3R family looks like: the numbers that fix every layer's shape."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from mast3r_ros.errors import InvalidInput

FAMILIES = ('mast3r', 'dust3r', 'dune')
HEADS = ('dpt', 'linear')
PATCH_SIDES_PX = (14, 16)
_POSITIVE = ('enc_dim', 'enc_depth', 'enc_heads', 'dec_dim', 'dec_depth', 'dec_heads')
_MIN_HOOKED_DEPTH = 4  # below it, two of the four hooks would be the same block


@dataclass(frozen=True)
class Architecture:
    """The shape of one network, small enough to stand in a model's description.

    :param family: ``mast3r``, ``dust3r`` or ``dune``.
    :param patch_px: side of the square image patch that becomes one token.
    :param head: ``dpt`` or ``linear``: what makes points of tokens.
    :param desc_dim: channels of a pixel's descriptor; 0 where the network has none.
    :param registers: extra tokens of the DUNE encoder.
    :param position_side: tokens along a side of the DUNE encoder's stored position grid.
    :param interpolate_antialias: whether that grid is resampled with antialiasing.
    :param interpolate_offset: added to the token grid's sides when it is resampled.
    """

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
    registers: int = 0
    position_side: int = 0
    interpolate_antialias: bool = False
    interpolate_offset: float = 0.1

    def __post_init__(self) -> None:
        _check_choice('family', self.family, FAMILIES)
        _check_choice('head', self.head, HEADS)
        _check_choice('patch_px', self.patch_px, PATCH_SIDES_PX)
        for name in _POSITIVE:
            _check_count(name, getattr(self, name), 1)
        for name in ('desc_dim', 'registers', 'position_side'):
            _check_count(name, getattr(self, name), 0)
        offset = self.interpolate_offset
        if isinstance(offset, bool) or not isinstance(offset, (int, float)) or not 0 <= offset < 1:
            raise _wrong('interpolate_offset', offset, 'a number from 0 to below 1')
        if not isinstance(self.interpolate_antialias, bool):
            raise _wrong('interpolate_antialias', self.interpolate_antialias, 'true or false')
        # The DUNE encoder adds learnt positions; all else rotates pairs in each half of a head.
        _check_heads('dec', self.dec_dim, self.dec_heads, multiple=4)
        _check_heads('enc', self.enc_dim, self.enc_heads, multiple=1 if self.is_dune else 4)
        if self.is_dune != (self.position_side > 0):
            raise InvalidInput(
                f'position_side = {self.position_side} does not fit the family {self.family}: '
                'a DUNE encoder stores a position grid of at least 1x1, the others none'
            )
        if self.head == 'dpt' and self.dec_depth < _MIN_HOOKED_DEPTH:
            raise InvalidInput(
                f'dec_depth = {self.dec_depth} is too shallow for a dpt head, which reads the '
                f'decoder at four depths; use at least {_MIN_HOOKED_DEPTH}'
            )
        if self.head == 'linear' and self.desc_dim:
            raise InvalidInput(
                f'desc_dim = {self.desc_dim} does not fit a linear head, which has no '
                'descriptors; use 0'
            )

    @property
    def is_dune(self) -> bool:
        """Whether the encoder is DUNE's, with learnt positions and layer scale."""
        return self.family == 'dune'

    @property
    def metric(self) -> bool:
        """Whether the network was trained to answer in metres."""
        return self.family != 'dust3r'

    @property
    def hooks(self) -> tuple[int, int, int, int]:
        """Depths that the dpt head reads: 0 is the encoder's tokens, k what block k returns."""
        return 0, self.dec_depth // 2, self.dec_depth * 3 // 4, self.dec_depth

    def token_grid(self, height: int, width: int) -> tuple[int, int]:
        """Return rows and columns of tokens of an image; its sides are multiples of the patch."""
        sides = (height, width)
        if any(side < self.patch_px or side % self.patch_px for side in sides):
            raise InvalidInput(
                f'an image of {width}x{height} pixels cannot be cut into patches of '
                f'{self.patch_px}x{self.patch_px}; both sides must be multiples of {self.patch_px}'
            )
        return height // self.patch_px, width // self.patch_px

    def to_dict(self) -> dict[str, object]:
        """Return the fields as plain values, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Architecture:
        """Return the architecture that :meth:`to_dict` wrote; anything else is refused."""
        names = {field.name for field in fields(cls)}
        for text, wrong in (
            ('unknown', values.keys() - names),
            ('missing', names - values.keys()),
        ):
            if wrong:
                raise InvalidInput(
                    f'the architecture has {text} fields: {", ".join(sorted(map(str, wrong)))}'
                )
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks every value


def _check_choice(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if isinstance(value, bool) or value not in allowed:
        raise _wrong(name, value, 'one of ' + ', '.join(map(str, allowed)))


def _check_count(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise _wrong(name, value, f'a whole number of at least {least}')


def _check_heads(part: str, dim: int, heads: int, multiple: int) -> None:
    if dim % (heads * multiple):
        raise InvalidInput(
            f'{part}_dim = {dim} cannot be shared by {part}_heads = {heads}: each head needs the '
            f'same number of channels, a multiple of {multiple}'
        )


def _wrong(name: str, value: object, allowed: str) -> InvalidInput:
    return InvalidInput(f'{name} = {value!r} of the architecture is wrong: allowed is {allowed}')
