# SPDX-License-Identifier: Apache-2.0
"""The published weights of a network, fetched into one folder, checked and remembered there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Protocol

from mast3r_ros.errors import CheckpointError, DownloadError
from mast3r_ros.models.catalogue import PublishedFile, PublishedModel
from mast3r_ros.models.checkpoint_records import CheckpointRecords
from mast3r_ros.models.http_requests import NotThere, check_address
from mast3r_ros.models.licences import WeightsLicence
from mast3r_ros.models.part_file import PartFile
from mast3r_ros.models.published_check import check_published
from mast3r_ros.models.transfer import Patience, transfer
from mast3r_ros.models.weights_file import sha256_of

_PLACED_BY_HAND = 'was there already'


class Listener(Protocol):
    """Is told what goes on."""

    def say(self, sentence: str) -> None:
        """Take a sentence."""

    def show(self, fraction: float, text: str) -> None:
        """Take how far the work is, from 0 to 1."""


@dataclass(frozen=True)
class DownloadOptions:
    """How weights are fetched.

    :param accept: is asked about each licence that was not accepted here before.
    :param hugging_face: take the safetensors files of Hugging Face instead of the .pth files.
    :param mirror: address of a folder that holds the files instead of where they are published.
    :param offline: use no network; only what is there already is checked.
    :param allow_http: let a mirror, and what it redirects to, be unencrypted.
    """

    accept: Callable[[WeightsLicence], bool]
    hugging_face: bool = False
    mirror: str = ''
    offline: bool = False
    allow_http: bool = False
    patience: Patience = field(default_factory=Patience)


@dataclass(frozen=True)
class FetchedFile:
    """A file that is there now.

    :param fetched: False if it was there before.
    """

    path: Path
    sha256: str
    fetched: bool


def download_model(
    model: PublishedModel, folder: Path, options: DownloadOptions, listener: Listener
) -> list[FetchedFile]:
    """Return the files of a network in a folder of checkpoints, fetching what is missing.

    :raises DownloadError: if something cannot be had; what has come of it is kept for later.
    :raises CheckpointError: if a file is not what it should be.
    """
    files = _files(model, options)
    missing = [file for file in files if not _place(folder, file).exists()]
    if missing and options.offline:
        raise DownloadError(_how_to_place(model, missing, folder))
    if missing and options.mirror:
        check_address(options.mirror, allow_http=options.allow_http)
    records = CheckpointRecords(folder)
    if missing:
        _ask(model, records, options)
    return [
        _fetch(model, file, folder, records, options, listener)
        if file in missing
        else _check_present(model, file, folder, records, listener)
        for file in files
    ]


def _files(model: PublishedModel, options: DownloadOptions) -> Sequence[PublishedFile]:
    if not options.hugging_face:
        return model.files
    if not model.hugging_face:
        raise DownloadError(
            f'{model.variant.value} is not published on Hugging Face; leave out '
            '--source huggingface'
        )
    return model.hugging_face


def _place(folder: Path, file: PublishedFile) -> Path:
    """Return where a file belongs; the name comes from the catalogue, never from a server."""
    relative = PurePosixPath(file.path)
    if relative.is_absolute() or '..' in relative.parts or '\\' in file.path:
        raise DownloadError(f'{file.path!r} leads out of the folder {folder}')
    return folder / relative


def _how_to_place(model: PublishedModel, missing: Sequence[PublishedFile], folder: Path) -> str:
    names = ' and '.join(file.path for file in missing)
    return (
        f'{folder} lacks {names} of {model.variant.value}, and without a network nothing can be '
        'fetched; put it there, or run this without --offline'
    )


def _ask(model: PublishedModel, records: CheckpointRecords, options: DownloadOptions) -> None:
    for licence in model.licences:
        if records.accepted(licence.key):
            continue
        if not options.accept(licence):
            raise DownloadError(
                f'{model.variant.value} is not fetched without its licence: {licence.name}, '
                f'{licence.url}; read it and run this again with --accept-license'
            )
        records.accept(licence.key)


def _check_present(
    model: PublishedModel,
    file: PublishedFile,
    folder: Path,
    records: CheckpointRecords,
    listener: Listener,
) -> FetchedFile:
    path = _place(folder, file)
    listener.show(0.0, f'checking {file.name}')
    sha256 = records.verify(file.path)
    if sha256 is None:
        check_published(path, model, file, _told(listener, path))
        sha256 = sha256_of(path)
        records.remember(file.path, sha256, _PLACED_BY_HAND)
    listener.say(f'{file.name} is there')
    return FetchedFile(path, sha256, fetched=False)


def _fetch(
    model: PublishedModel,
    file: PublishedFile,
    folder: Path,
    records: CheckpointRecords,
    options: DownloadOptions,
    listener: Listener,
) -> FetchedFile:
    path = _place(folder, file)
    with PartFile(path) as part:
        origin = _transfer(model, file, part, options, listener)
        try:
            check_published(part.path, model, file, _told(listener, part.path))
        except CheckpointError:
            part.discard()
            raise
        sha256 = sha256_of(part.path)
        part.finish()
    records.remember(file.path, sha256, origin)
    listener.say(f'{file.name} is there, SHA-256 {sha256}')
    return FetchedFile(path, sha256, fetched=True)


def _transfer(
    model: PublishedModel,
    file: PublishedFile,
    part: PartFile,
    options: DownloadOptions,
    listener: Listener,
) -> str:
    """Bring a file from the first address that has it, and return that address."""
    addresses = file.addresses
    if options.mirror:
        addresses = (f'{options.mirror.rstrip("/")}/{file.path}',)

    def told(come: int, total: int) -> None:
        whole = total or file.about_bytes
        text = f'{file.name}  {come / 1e6:.0f} of {whole / 1e6:.0f} MB'
        listener.show(come / max(whole, 1), text)

    for address in addresses:
        verb = 'continuing' if part.size_bytes else 'fetching'
        listener.say(f'{verb} {address}, about {file.about_bytes / 1e6:.0f} MB')
        try:
            transfer(
                address,
                part,
                file.about_bytes,
                told,
                patience=options.patience,
                say=listener.say,
                allow_http=bool(options.mirror) and options.allow_http,
            )
        except NotThere as error:
            listener.say(str(error))
        else:
            return address
    raise DownloadError(_not_found(model, file, addresses, bool(options.mirror)))


def _not_found(
    model: PublishedModel, file: PublishedFile, addresses: Sequence[str], is_mirror: bool
) -> str:
    if is_mirror:
        return f'the mirror has no {addresses[0]}'
    why = '' if file.confirmed else ' (its address is a guess: no public page gives it whole)'
    return (
        f'{file.name} is not at {" nor at ".join(addresses)}{why}; look for it at '
        f'{model.publisher_page}, then use --url with the folder it lies in, or put the file in '
        'place by hand'
    )


def _told(listener: Listener, path: Path) -> Callable[[int], None]:
    whole = max(path.stat().st_size, 1)
    done = 0

    def told(count: int) -> None:
        nonlocal done
        done += count
        listener.show(done / whole, f'checking {path.name}')

    return told
