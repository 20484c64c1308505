# SPDX-License-Identifier: Apache-2.0
"""From the tensors of a published checkpoint to the weights of the stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.networks.dune_encoder import DuneEncoder
from mast3r_ros.models.networks.layers import Linear
from mast3r_ros.models.networks.stages import Stages
from mast3r_ros.models.official_keys import is_unused, official_shapes, parameter_name

_SHOWN = 3  # names in a sentence


@torch.no_grad()
def load_weights(stages: Stages, tensors: Mapping[str, Tensor]) -> None:
    """Fill every stage from tensors under their published names.

    DUNE's encoder may stand under ``encoder.`` or ``dune_backbone.``, a decoder with or without
    ``mast3r.``. Raises :class:`CheckpointError` unless everything fits; nothing is changed then.
    """
    architecture = stages.architecture
    given = _by_parameter(tensors)
    _check_fit(architecture, given)
    for stage in stages.named().values():
        for name, module in stage.named_modules():
            for part, parameter in module.named_parameters(recurse=False):
                tensor = given[f'{name}.{part}'][1]
                parameter.copy_(_laid_out(module, part, tensor))
        if isinstance(stage, DuneEncoder):
            _bake(stage, architecture, {name: tensor for name, (_, tensor) in given.items()})


def _laid_out(module: nn.Module, part: str, tensor: Tensor) -> Tensor:
    return module.from_official(part, tensor) if isinstance(module, Linear) else tensor


def _bake(stage: DuneEncoder, architecture: Architecture, tensors: Mapping[str, Tensor]) -> None:
    registers = tensors['encoder.register_tokens'] if architecture.registers else None
    stage.encoder.bake(tensors['encoder.cls_token'], registers, tensors['encoder.pos_embed'])


def _by_parameter(tensors: Mapping[str, Tensor]) -> dict[str, tuple[str, Tensor]]:
    """Return the tensors, each with its name in the file, by the name they have here."""
    found: dict[str, tuple[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name = parameter_name(key)
        if name not in found:
            found[name] = key, tensor
        elif not _same(found[name][1], tensor):
            raise CheckpointError(
                f'{key} and {found[name][0]} of the checkpoint are two names of one tensor, but '
                'they differ; the file is damaged, get it again'
            )
    return found


def _same(first: Tensor, second: Tensor) -> bool:
    if first.shape != second.shape:
        return False
    return first.data_ptr() == second.data_ptr() or torch.equal(first, second)


def _check_fit(architecture: Architecture, given: Mapping[str, tuple[str, Tensor]]) -> None:
    expected = {
        parameter_name(key): (key, shape)
        for key, shape in official_shapes(architecture).items()
        if not is_unused(key, architecture)
    }
    missing = [key for name, (key, _) in expected.items() if name not in given]
    unexpected = [
        key
        for name, (key, _) in given.items()
        if name not in expected and not is_unused(key, architecture)
    ]
    wrong = [
        _difference(*given[name], shape)
        for name, (_, shape) in expected.items()
        if name in given and not _fits(given[name][1], shape)
    ]
    problems = [
        *_count(missing, 'is missing', 'are missing'),
        *_count(unexpected, 'is unexpected', 'are unexpected'),
        *_count(wrong, 'does not fit', 'do not fit'),
    ]
    if problems:
        raise CheckpointError(
            f'the checkpoint is not that of this {architecture.family} network: '
            f'{"; ".join(problems)}; get the published file again, or name the variant it is of'
        )


def _fits(tensor: Tensor, shape: tuple[int, ...]) -> bool:
    return tuple(tensor.shape) == shape and tensor.is_floating_point()


def _difference(key: str, tensor: Tensor, shape: tuple[int, ...]) -> str:
    if not tensor.is_floating_point():
        return f'{key} holds {str(tensor.dtype).removeprefix("torch.")}, not real numbers'
    return f'{key} is {_sides(tensor.shape)}, not {_sides(shape)}'


def _sides(shape: tuple[int, ...]) -> str:
    return 'x'.join(map(str, shape)) or 'a single number'


def _count(names: list[str], one: str, many: str) -> Iterator[str]:
    if names:
        shown = ', '.join(names[:_SHOWN]) + (', ...' if len(names) > _SHOWN else '')
        text = f'tensor {one}' if len(names) == 1 else f'tensors {many}'
        yield f'{len(names)} {text} ({shown})'
