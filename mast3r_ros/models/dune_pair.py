# SPDX-License-Identifier: Apache-2.0
"""Which encoder a DUNE decoder was trained on, told by the name that its file carries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mast3r_ros.models.shape_facts import EncoderFacts

# dune_vitbase_14_448_paper_encoder in a decoder, dune_vitbase14_448_paper as the name of a file.
_NAME = re.compile(
    r'^dune_vit(?P<size>[a-z]+)_?(?P<patch>\d+)_(?P<px>\d+)(?P<paper>_paper)?(_encoder)?$'
)
_DIMS = {'small': 384, 'base': 768, 'large': 1024}


@dataclass(frozen=True)
class EncoderName:
    """What the name of an encoder says."""

    size: str
    patch_px: int
    trained_px: int
    paper: bool

    @property
    def file_name(self) -> str:
        """The file that it was published as."""
        paper = '_paper' if self.paper else ''
        return f'dune_vit{self.size}{self.patch_px}_{self.trained_px}{paper}.pth'


def encoder_name(text: str) -> EncoderName | None:
    """Return what a name says; None where it is not of the published make."""
    found = _NAME.match(text)
    if not found:
        return None
    return EncoderName(
        found['size'], int(found['patch']), int(found['px']), found['paper'] is not None
    )


def differences(wanted: str, path: Path, facts: EncoderFacts) -> list[str]:
    """Return what speaks against an encoder's file being the one that the decoder names.

    A decoder that names none of the published make proves nothing: that is a difference too.

    :param wanted: the name in the decoder, empty where it has none.
    """
    name = encoder_name(wanted)
    if name is None:
        known = 'that is a name of no published make, so ' if wanted else ''
        return [f'{known}whether it was trained with this one cannot be told']
    dim = _DIMS.get(name.size, facts.dim)
    different = [
        f'{what} {has} instead of {wants}'
        for what, has, wants in (
            ('token size', facts.dim, dim),
            ('patch', facts.patch_px, name.patch_px),
            ('training size', facts.trained_px, name.trained_px),
        )
        if has != wants
    ]
    given = encoder_name(path.stem)
    if not different and given is not None and given != name:
        different.append(f'it is named {path.name}')
    return different


def uncertainties(wanted: str, path: Path) -> list[str]:
    """Return what cannot be told about a pair without differences, as sentences."""
    name = encoder_name(wanted)
    if name is None or encoder_name(path.stem) is not None:
        return []
    return [
        f'{path.name} has not its published name ({name.file_name}): its shapes fit, yet '
        'another training of the same shapes would fit as well'
    ]
