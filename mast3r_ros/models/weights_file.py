# SPDX-License-Identifier: Apache-2.0
"""A file of weights of either format: its names and shapes at once, its values when asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.file_kinds import FileKind, file_kind
from mast3r_ros.models.pickle_outline import Arguments
from mast3r_ros.models.safetensors_files import SafetensorsFile, model_string_beside
from mast3r_ros.models.state_dict import (
    Names,
    encoder_names,
    find_weights,
    is_dune_encoder,
    published_names,
)
from mast3r_ros.models.tensor_outline import FLOATS, TensorOutline
from mast3r_ros.models.torch_archive import TorchArchive
from mast3r_ros.models.torch_files import import_torch, load_torch_file

_HASH_BLOCK_BYTES = 4 << 20


class WeightsSource:
    """A file that weights came from, as a model's description names it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self.bytes = path.stat().st_size

    @cached_property
    def sha256(self) -> str:
        """The hash of the file, made when it is first asked for."""
        return sha256_of(self.path)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open('rb') as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


class WeightsFile:
    """A checkpoint, judged safe and whole; nothing of it was run.

    :raises CheckpointError: with one sentence about what is wrong with it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._kind = file_kind(path)
        self._beside: dict[str, Any] = {}
        weights = self._outlines()
        names = published_names(weights)
        self.is_dune_encoder = is_dune_encoder(names)
        self._names: Names = encoder_names(names) if self.is_dune_encoder else names
        self.outlines: dict[str, TensorOutline] = {
            name: weights[keys[0]] for name, keys in self._names.items()
        }
        self._check(weights)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor by its published name."""
        return {name: outline.shape for name, outline in self.outlines.items()}

    @property
    def model_string(self) -> str | None:
        """The line that describes the network, if the file or the one beside it has it."""
        for value in (self._beside.get('mast3r_model_str'), self.argument('model')):
            if isinstance(value, str):
                return value
        return model_string_beside(self.path) if self._kind is FileKind.SAFETENSORS else None

    @property
    def backbone_name(self) -> str | None:
        """The encoder that a DUNE decoder asks for."""
        value = self._beside.get('dune_backbone_name')
        return value if isinstance(value, str) else None

    def argument(self, name: str) -> Any:
        """Return an argument of the training, None where the file has none."""
        arguments = self._beside.get('args')
        if isinstance(arguments, Arguments):
            arguments = vars(arguments)
        return arguments.get(name) if isinstance(arguments, Mapping) else None

    def tensors(self) -> dict[str, Any]:
        """Return the values by their published names, mapped from the file."""
        torch = import_torch()
        if self._kind is FileKind.SAFETENSORS:
            found = SafetensorsFile(self.path).tensors()
        else:
            found, _ = find_weights(load_torch_file(self.path), torch.is_tensor)
        tensors = {}
        for name, keys in self._names.items():
            first, *aliases = (found[key].detach() for key in keys)
            if any(not torch.equal(first, alias) for alias in aliases):
                raise self._wrong(f'{" and ".join(keys)} are names of one tensor and differ')
            tensors[name] = first
        return tensors

    def _outlines(self) -> dict[str, TensorOutline]:
        if self._kind is FileKind.SAFETENSORS:
            outlines = SafetensorsFile(self.path).outlines
            if not outlines:
                raise self._wrong('it holds no weights')
            return outlines
        contents = TorchArchive(self.path).contents()
        try:
            weights, self._beside = find_weights(
                contents, lambda value: isinstance(value, TensorOutline)
            )
        except CheckpointError as error:
            raise self._wrong(str(error)) from None
        return weights

    def _check(self, weights: Mapping[str, TensorOutline]) -> None:
        for name, keys in self._names.items():
            if len({weights[key].shape for key in keys}) > 1:
                raise self._wrong(f'{" and ".join(keys)} are names of one tensor and differ')
            outline = self.outlines[name]
            if outline.dtype not in FLOATS and outline.count > 1:  # a single one is a counter
                raise self._wrong(
                    f'{name} is of {outline.dtype}; weights are {", ".join(sorted(FLOATS))}'
                )
        held = sum(outline.bytes for outline in self.outlines.values())
        if held > self.path.stat().st_size:
            raise self._wrong(f'its tensors claim {held} bytes, more than the file has')

    def _wrong(self, why: str) -> CheckpointError:
        return CheckpointError(f'{self.path} is no usable checkpoint: {why}')
