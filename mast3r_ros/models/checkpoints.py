# SPDX-License-Identifier: Apache-2.0
"""Published weights as one checkpoint: the architecture, proven on every shape, and the tensors.

For DUNE two files make one network; the encoder's tensors come under ``encoder.``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mast3r_ros.errors import CheckpointError, InvalidInput
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.dune_pair import differences, encoder_name, uncertainties
from mast3r_ros.models.model_string import ModelString, parse_model_string
from mast3r_ros.models.official_keys import is_unused, official_shapes, parameter_name
from mast3r_ros.models.shape_facts import (
    HEAD_CHANNELS,
    EncoderFacts,
    NetworkFacts,
    encoder_facts,
    network_facts,
)
from mast3r_ros.models.weights_file import WeightsFile, WeightsSource

if TYPE_CHECKING:
    import torch

_COMPARED = ('family', 'enc_dim', 'enc_depth', 'dec_dim', 'dec_depth', 'head', 'desc_dim')
_SHOWN = 3  # names of tensors in a sentence


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one network.

    :param tensors: by their published names, mapped from the files; in the files' own number
        format.
    :param sources: the files, with size and, when asked for, SHA-256.
    :param notes: sentences that a user should see.
    :param official_pair: False for a DUNE decoder with an encoder that is not the one it names.
    """

    architecture: Architecture
    tensors: Mapping[str, torch.Tensor]
    sources: tuple[WeightsSource, ...]
    notes: tuple[str, ...] = ()
    official_pair: bool = True


@dataclass(frozen=True)
class Outline:
    """What one or two files hold, told without PyTorch and without their values."""

    architecture: Architecture
    files: tuple[WeightsFile, ...]
    notes: tuple[str, ...]
    official_pair: bool


def read_checkpoint(
    path: Path | str,
    encoder_path: Path | str | None = None,
    *,
    allow_unofficial_pair: bool = False,
) -> Checkpoint:
    """Return the weights of a published .pth or .safetensors file; needs PyTorch.

    :param encoder_path: for a DUNE decoder the encoder's file.
    :param allow_unofficial_pair: take an encoder that the decoder does not name.
    :raises CheckpointError: with one sentence; nothing in a file is ever run.
    """
    outline = read_outline(path, encoder_path, allow_unofficial_pair=allow_unofficial_pair)
    tensors = outline.files[0].tensors()
    if len(outline.files) > 1:
        tensors |= {f'encoder.{name}': item for name, item in outline.files[1].tensors().items()}
    return Checkpoint(
        outline.architecture,
        tensors,
        tuple(WeightsSource(file.path) for file in outline.files),
        outline.notes,
        outline.official_pair,
    )


def read_outline(
    path: Path | str,
    encoder_path: Path | str | None = None,
    *,
    allow_unofficial_pair: bool = False,
) -> Outline:
    """Return what :func:`read_checkpoint` would read, without PyTorch and without the values."""
    file = WeightsFile(Path(path))
    if file.is_dune_encoder:
        raise _wrong(
            file,
            'it is the encoder of a DUNE network; give the decoder (dunemast3r_*.pth) first and '
            'this file as the encoder',
        )
    facts = _judged(file, network_facts, file.shapes)
    if facts.family != 'dune':
        if encoder_path is not None:
            raise _wrong(file, f'it is a {facts.family} network, which takes no encoder file')
        return _single(file, facts)
    if encoder_path is None:
        wanted = encoder_name(file.backbone_name or '')
        hint = f' ({wanted.file_name})' if wanted else ''
        raise _wrong(
            file, f'it is the decoder of a DUNE network; the encoder{hint} must be given too'
        )
    return _pair(file, facts, WeightsFile(Path(encoder_path)), allow_unofficial_pair)


def _single(file: WeightsFile, facts: NetworkFacts) -> Outline:
    text = file.model_string
    if text is None:
        notes: tuple[str, ...] = (
            f'{file.path.name} does not say what its network is; that was told by its shapes',
        )
        architecture = _judged(file, _from_shapes, facts)
    else:
        notes = ()
        said = _judged(file, parse_model_string, text)
        _compare(file, said, facts)
        architecture = _judged(file, ModelString.architecture, said)
    _compare_names(architecture, file)
    return Outline(architecture, (file,), notes, True)


def _pair(
    file: WeightsFile, facts: NetworkFacts, encoder: WeightsFile, allow_unofficial: bool
) -> Outline:
    if not encoder.is_dune_encoder:
        raise _wrong(encoder, 'it is not the encoder of a DUNE network')
    tokens = _judged(encoder, encoder_facts, encoder.shapes)
    if tokens.dim != facts.enc_dim or tokens.patch_px != facts.patch_px:
        raise _wrong(
            encoder,
            f'its tokens have {tokens.dim} channels of {tokens.patch_px} px, the decoder '
            f'{file.path.name} takes {facts.enc_dim} of {facts.patch_px} px',
        )
    wanted = file.backbone_name or ''
    different = differences(wanted, encoder.path, tokens)
    if different and not allow_unofficial:
        asks = f'asks for {wanted[:80]!r}' if wanted else 'names no encoder'
        raise _wrong(
            encoder,
            f'the decoder {file.path.name} {asks}: {", ".join(different)}; use the encoder that '
            'it was trained with, or allow an unofficial pair (--allow-unofficial-pair)',
        )
    notes = [f'an unofficial pair: {", ".join(different)}'] if different else []
    notes += [] if different else uncertainties(wanted, encoder.path)
    said_px = encoder.argument('image_size')
    if isinstance(said_px, int) and said_px != tokens.trained_px:
        notes.append(
            f'{encoder.path.name} says it was trained at {said_px} px, its positions are for '
            f'{tokens.trained_px} px; these are used'
        )
    architecture = _judged(file, _dune_architecture, file, facts, encoder, tokens)
    _compare_names(architecture, file, encoder)
    return Outline(architecture, (file, encoder), tuple(notes), not different)


def _from_shapes(facts: NetworkFacts) -> Architecture:
    """Return the architecture where no model string tells it: heads are as wide as published."""
    return Architecture(
        **vars(facts),
        enc_heads=_heads('encoder', facts.enc_dim),
        dec_heads=_heads('decoder', facts.dec_dim),
    )


def _dune_architecture(
    file: WeightsFile, facts: NetworkFacts, encoder: WeightsFile, tokens: EncoderFacts
) -> Architecture:
    if file.model_string is None:
        raise CheckpointError('it lacks mast3r_model_str, which every DUNE decoder carries')
    said = parse_model_string(file.model_string)
    _compare(file, replace(said, family='dune'), facts)
    published = tokens.dim % HEAD_CHANNELS == 0 and tokens.dim > HEAD_CHANNELS
    options = encoder.argument('enc_args')
    options = options if isinstance(options, Mapping) else {}
    return Architecture(
        family='dune',
        patch_px=tokens.patch_px,
        enc_dim=tokens.dim,
        enc_depth=tokens.depth,
        # The string's number of heads is of an encoder without blocks, and means nothing but in
        # networks too small to have heads of the published width.
        enc_heads=tokens.dim // HEAD_CHANNELS if published else said.enc_heads,
        dec_dim=facts.dec_dim,
        dec_depth=facts.dec_depth,
        dec_heads=said.dec_heads,
        head=facts.head,
        desc_dim=facts.desc_dim,
        registers=tokens.registers,
        position_side=tokens.position_side,
        interpolate_antialias=_option(options, 'interpolate_antialias', False),
        interpolate_offset=_option(options, 'interpolate_offset', 0.1),
    )


def _option(options: Mapping[str, Any], name: str, default: Any) -> Any:
    value = options.get(name, default)
    if type(value) is not type(default):
        raise CheckpointError(f'{name} of its encoder is {value!r}, not like {default!r}')
    return value


def _heads(part: str, dim: int) -> int:
    if dim % HEAD_CHANNELS:
        raise CheckpointError(
            f'it does not say what its network is, and its {part} of {dim} channels is not of '
            f'the published kind (a multiple of {HEAD_CHANNELS})'
        )
    return dim // HEAD_CHANNELS


def _compare(file: WeightsFile, said: ModelString, facts: NetworkFacts) -> None:
    """Raise where the model string and the shapes contradict each other."""
    names = _COMPARED if facts.family == 'dune' else (*_COMPARED, 'patch_px')
    wrong = [
        f'{name} {getattr(said, name)} where the shapes have {getattr(facts, name)}'
        for name in names
        if getattr(said, name) != getattr(facts, name)
    ]
    if wrong:
        raise _wrong(file, f'its description says {", ".join(wrong)}')


def _compare_names(architecture: Architecture, *files: WeightsFile) -> None:
    """Raise unless the files hold the tensors of the architecture, neither fewer nor others."""
    for file, prefix in zip(files, ('', 'encoder.'), strict=False):
        expected = {
            parameter_name(name): (name, shape)
            for name, shape in official_shapes(architecture).items()
            if len(files) == 1 or name.startswith('encoder.') == bool(prefix)
        }
        found = {parameter_name(prefix + name): shape for name, shape in file.shapes.items()}
        _compare_shapes(file, architecture, expected, found)


def _compare_shapes(
    file: WeightsFile,
    architecture: Architecture,
    expected: Mapping[str, tuple[str, tuple[int, ...]]],
    found: Mapping[str, tuple[int, ...]],
) -> None:
    missing = [
        name
        for key, (name, _) in expected.items()
        if key not in found and not is_unused(name, architecture)
    ]
    if missing:
        raise _wrong(file, f'it lacks {_some(missing)}')
    unknown = [key for key in found if key not in expected and not is_unused(key, architecture)]
    if unknown:
        raise _wrong(file, f'it has what its network does not: {_some(unknown)}')
    for key, (name, shape) in expected.items():
        if key in found and found[key] != shape:
            raise _wrong(file, f'{name} has the shape {list(found[key])} instead of {list(shape)}')


def _some(names: list[str]) -> str:
    shown = ', '.join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f'{shown} and {len(names) - _SHOWN} more'


def _judged(file: WeightsFile, judge: Any, *arguments: Any) -> Any:
    """Return what a judgement says, its complaint being about the file."""
    try:
        return judge(*arguments)
    except (CheckpointError, InvalidInput) as error:
        if str(error).startswith(str(file.path)):
            raise
        raise _wrong(file, str(error)) from None


def _wrong(file: WeightsFile, why: str) -> CheckpointError:
    return CheckpointError(f'{file.path} cannot be used: {why}')
