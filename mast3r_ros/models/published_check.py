# SPDX-License-Identifier: Apache-2.0
"""Whether a file on this machine is the one that the catalogue means; needs no PyTorch."""

from __future__ import annotations

from pathlib import Path

from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.catalogue import PublishedFile, PublishedModel
from mast3r_ros.models.dune_pair import encoder_name
from mast3r_ros.models.file_kinds import FileKind, file_kind
from mast3r_ros.models.safetensors_files import description_values
from mast3r_ros.models.shape_facts import encoder_facts, network_facts
from mast3r_ros.models.torch_archive import Told, TorchArchive
from mast3r_ros.models.weights_file import WeightsFile


def check_published(
    path: Path, model: PublishedModel, file: PublishedFile, told: Told = lambda _count: None
) -> None:
    """Raise unless a file is whole, safe, and of the network that it should be of.

    :param path: where it lies now, whatever its name there.
    :param told: is called with how many bytes more were checked.
    """
    if file.name.endswith('.json'):
        description_values(path)
        return
    weights = WeightsFile(path)
    try:
        found = _encoder(weights, file) if weights.is_dune_encoder else _network(weights)
    except CheckpointError as error:
        raise CheckpointError(f'{path} is not {file.name}: {error}') from None
    is_encoder = file is not model.files[0] and file in model.files
    if is_encoder != weights.is_dune_encoder:
        raise CheckpointError(f'{path} is not {file.name}: it is the other half of a DUNE network')
    different = [
        f'{name} {value} instead of {model.dimensions[name]}'
        for name, value in found.items()
        if name in model.dimensions and model.dimensions[name] != value
    ]
    if different:
        raise CheckpointError(f'{path} is not {file.name}: it has {", ".join(different)}')
    if file_kind(path) is FileKind.TORCH:
        TorchArchive(path).verify(told)


def _network(weights: WeightsFile) -> dict[str, int | str]:
    facts = vars(network_facts(weights.shapes))
    if facts['family'] == 'dune':  # its encoder lies in a file of its own
        facts = {name: value for name, value in facts.items() if name != 'enc_depth'}
    return dict(facts)


def _encoder(weights: WeightsFile, file: PublishedFile) -> dict[str, int | str]:
    facts = encoder_facts(weights.shapes)
    name = encoder_name(file.name.removesuffix('.pth'))
    if name is not None and name.trained_px != facts.trained_px:
        raise CheckpointError(f'it was trained at {facts.trained_px} px')
    return {'enc_dim': facts.dim, 'enc_depth': facts.depth, 'patch_px': facts.patch_px}
