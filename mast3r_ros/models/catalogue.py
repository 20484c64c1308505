# SPDX-License-Identifier: Apache-2.0
"""The published networks: their files, where these are published, their licences and dimensions.

Sizes are about right, no more: they serve the disk check and the progress bar. What a file is, is
read from the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mast3r_ros.choices import ModelVariant
from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.licences import (
    DUNE_LICENCE,
    DUST3R_LICENCE,
    MAST3R_LICENCE,
    WeightsLicence,
)

CHECKPOINTS_FOLDER = 'checkpoints'
_NAVER = 'https://download.europe.naverlabs.com'
_HUGGING_FACE = 'https://huggingface.co/naver'
_MIB = 1 << 20


@dataclass(frozen=True)
class PublishedFile:
    """A file that somebody published.

    :param path: where it lies below the folder of checkpoints; also its place on a mirror.
    :param about_bytes: its size, to a few per cent.
    :param addresses: where it is to be had, tried in turn while the answer is "not found".
    :param confirmed: False where no public page that we could read names the address.
    """

    path: str
    about_bytes: int
    addresses: tuple[str, ...]
    confirmed: bool = True

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition('/')[2]


@dataclass(frozen=True)
class PublishedModel:
    """A network as it was published.

    :param summary: what it is good for, in half a sentence.
    :param sizes: width and height of the training images in pixels, as published.
    :param dimensions: fields of its architecture that its files must show.
    :param files: what to fetch; for DUNE the decoder's file, then the encoder's.
    :param hugging_face: the same network as safetensors and its description, where it exists.
    """

    variant: ModelVariant
    summary: str
    sizes: str
    licences: tuple[WeightsLicence, ...]
    dimensions: Mapping[str, int | str]
    files: tuple[PublishedFile, ...]
    hugging_face: tuple[PublishedFile, ...] = ()

    @property
    def patch_px(self) -> int:
        """Side of the square that becomes one token."""
        return self.variant.patch_px

    @property
    def metric(self) -> bool:
        """Whether its points are in metres."""
        return self.dimensions['family'] != 'dust3r'

    @property
    def publisher_page(self) -> str:
        """Where its authors present it."""
        return f'https://github.com/naver/{self.dimensions["family"]}'

    def paths(self, cache_folder: Path) -> tuple[Path, ...]:
        """Return where its weights lie: what was fetched as .pth, else as safetensors.

        One path, or for DUNE two: the decoder's and the encoder's. They need not exist.
        """
        return self.paths_in(cache_folder / CHECKPOINTS_FOLDER)

    def paths_in(self, folder: Path) -> tuple[Path, ...]:
        """Return the same below a folder of checkpoints."""
        published = tuple(folder / file.path for file in self.files)
        other = tuple(
            folder / file.path for file in self.hugging_face if file.path.endswith('.safetensors')
        )
        if other and not published[0].is_file() and other[0].is_file():
            return other
        return published

    def check(self, architecture: Architecture) -> None:
        """Raise unless weights of this architecture are the published ones of this variant."""
        different = [
            f'{name} {getattr(architecture, name)} instead of {value}'
            for name, value in self.dimensions.items()
            if getattr(architecture, name) != value
        ]
        if different:
            raise CheckpointError(
                f'these weights are not {self.variant.value}: {", ".join(different)}; name their '
                'own variant, or none'
            )


def published_model(variant: ModelVariant) -> PublishedModel:
    """Return what is known of a network's publication."""
    return MODELS[variant]


def _at_naver(name: str, folder: str, about_bytes: int) -> PublishedFile:
    address = f'{_NAVER}/ComputerVision/{folder}/{name}'
    return PublishedFile(name, about_bytes, (address,))


def _dune_file(name: str, about_bytes: int, folders: tuple[str, ...]) -> PublishedFile:
    """Return a file of the DUNE family: no public page we could read gives its address whole."""
    addresses = tuple(f'{_NAVER}/{folder}/{name}' for folder in folders)
    return PublishedFile(name, about_bytes, addresses, confirmed=False)


def _dune_decoder(size: str, about_bytes: int) -> PublishedFile:
    name = f'dunemast3r_cvpr25_vit{size}.pth'
    folders = ('ComputerVision/MASt3R', 'ComputerVision/DUNE', 'dune')
    return _dune_file(name, about_bytes, folders)


def _dune_encoder(name: str, about_bytes: int) -> PublishedFile:
    return _dune_file(name, about_bytes, ('ComputerVision/DUNE', 'dune'))


def _at_hugging_face(name: str, about_bytes: int) -> tuple[PublishedFile, ...]:
    return tuple(
        PublishedFile(f'{name}/{file}', size, (f'{_HUGGING_FACE}/{name}/resolve/main/{file}',))
        for file, size in (('config.json', 1000), ('model.safetensors', about_bytes))
    )


def _dust3r(
    variant: ModelVariant, name: str, head: str, summary: str, sizes: str, about_bytes: int
) -> PublishedModel:
    dimensions = {**_VIT_LARGE, 'family': 'dust3r', 'head': head, 'desc_dim': 0}
    return PublishedModel(
        variant,
        summary,
        sizes,
        (DUST3R_LICENCE,),
        dimensions,
        (_at_naver(f'{name}.pth', 'DUSt3R', about_bytes),),
        _at_hugging_face(name, about_bytes),
    )


def _dune(
    variant: ModelVariant,
    summary: str,
    enc_dim: int,
    decoder: PublishedFile,
    encoder: PublishedFile,
) -> PublishedModel:
    dimensions: dict[str, int | str] = {
        'family': 'dune',
        'patch_px': 14,
        'enc_dim': enc_dim,
        'enc_depth': 12,
        **_BASE_DECODER,
        'head': 'dpt',
        'desc_dim': 24,
    }
    licences = (MAST3R_LICENCE, DUNE_LICENCE)
    return PublishedModel(
        variant, summary, 'encoder trained at 448x448', licences, dimensions, (decoder, encoder)
    )


_BASE_DECODER: dict[str, int | str] = {'dec_dim': 768, 'dec_depth': 12, 'dec_heads': 12}
_VIT_LARGE: dict[str, int | str] = {
    'patch_px': 16,
    'enc_dim': 1024,
    'enc_depth': 24,
    'enc_heads': 16,
    **_BASE_DECODER,
}
_MAST3R_NAME = 'MASt3R_ViTLarge_BaseDecoder_512_catmlpdpt_metric'
_SIZES_512 = '512x384, 512x336, 512x288, 512x256, 512x160'

_ALL = (
    _dune(
        ModelVariant.DUNE_VIT_SMALL,
        'the smallest encoder, about half the arithmetic of MASt3R: for robots',
        384,
        _dune_decoder('small', 1234 * _MIB),
        _dune_encoder('dune_vitsmall14_448.pth', 109 * _MIB),
    ),
    _dune(
        ModelVariant.DUNE_VIT_BASE,
        'a middle-sized encoder for stronger boards',
        768,
        _dune_decoder('base', 1325 * _MIB),
        _dune_encoder('dune_vitbase14_448_paper.pth', 420 * _MIB),
    ),
    PublishedModel(
        ModelVariant.MAST3R_VIT_LARGE,
        'the largest, metric, with descriptors: for workstations',
        _SIZES_512,
        (MAST3R_LICENCE,),
        {**_VIT_LARGE, 'family': 'mast3r', 'head': 'dpt', 'desc_dim': 24},
        (_at_naver(f'{_MAST3R_NAME}.pth', 'MASt3R', 2627 * _MIB),),
        _at_hugging_face(_MAST3R_NAME, 2627 * _MIB),
    ),
    _dust3r(
        ModelVariant.DUST3R_224_LINEAR,
        'DUSt3R_ViTLarge_BaseDecoder_224_linear',
        'linear',
        'small square images, no descriptors, no metres',
        '224x224',
        2031 * _MIB,
    ),
    _dust3r(
        ModelVariant.DUST3R_512_LINEAR,
        'DUSt3R_ViTLarge_BaseDecoder_512_linear',
        'linear',
        'the lighter head, no descriptors, no metres',
        _SIZES_512,
        2031 * _MIB,
    ),
    _dust3r(
        ModelVariant.DUST3R_512_DPT,
        'DUSt3R_ViTLarge_BaseDecoder_512_dpt',
        'dpt',
        'the finer head, no descriptors, no metres',
        _SIZES_512,
        2179 * _MIB,
    ),
)

MODELS: dict[ModelVariant, PublishedModel] = {model.variant: model for model in _ALL}
"""Every network that can be had, in the order of the settings."""
