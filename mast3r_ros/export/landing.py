# SPDX-License-Identifier: Apache-2.0
"""How a model comes to its place: whole or not at all, whenever the export is interrupted."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mast3r_ros.errors import ModelError
from mast3r_ros.export.graph_files import sync_folder, write_whole
from mast3r_ros.models.description import DESCRIPTION_FILE, ModelDescription

UNFINISHED = '.unfinished'
"""Ends the names of what is being made; what a killed export left is removed by the next."""

_REPLACED = '.replaced'  # ends the name of a folder that is being swapped for a new one


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Give an empty folder beside the target; :func:`land` brings it there, else it is removed.

    Of a target that is a link, the folder that it leads to is meant.
    """
    target = _linked_to(target)
    parent = target.parent
    parent.mkdir(parents=True, exist_ok=True)
    unfinished = parent / f'.{target.name}{UNFINISHED}'
    with _alone(unfinished, target) as made:
        _restore(target)
        _empty(unfinished)
        try:
            yield unfinished
        finally:
            if _is_still(unfinished, made):
                shutil.rmtree(unfinished, ignore_errors=True)


def land(unfinished: Path, target: Path) -> None:
    """Bring a finished folder to its place; an older one there is gone afterwards."""
    sync_folder(unfinished)
    target = _linked_to(target)
    replaced = target.parent / f'.{target.name}{_REPLACED}'
    try:
        if target.exists():
            target.rename(replaced)
        unfinished.rename(target)
    except BaseException:  # Ctrl-C too
        _restore(target)
        raise
    sync_folder(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def added_files(folder: Path) -> Iterator[None]:
    """Let new graphs be written into a model's folder, under :func:`unfinished_name` each.

    What is unfinished when it ends is removed; so is what an earlier, killed export left.
    """
    with _alone(folder, folder):
        _remove_unfinished(folder)
        try:
            yield
        finally:
            _remove_unfinished(folder)


def unfinished_name(path: Path) -> Path:
    """Return what a file that is added to a model is called until it is finished."""
    return path.with_name(f'.{path.name}{UNFINISHED}')


def finish_files(paths: list[Path]) -> None:
    """Give added files their names; nobody looks at them before the description names them."""
    for path in paths:
        os.replace(unfinished_name(path), path)
    if paths:
        sync_folder(paths[0].parent)


def update_description(
    folder: Path, change: Callable[[ModelDescription], ModelDescription]
) -> ModelDescription:
    """Change the description of a model; waits for an export that adds sizes to it."""
    path = folder / DESCRIPTION_FILE
    with _alone(folder, folder, wait=True):
        description = change(ModelDescription.from_json(path.read_bytes(), str(path)))
        write_description(folder, description)
    return description


def write_description(folder: Path, description: ModelDescription) -> None:
    """Replace the description of a model at once."""
    path = folder / DESCRIPTION_FILE
    write_whole(unfinished_name(path), description.to_json().encode())
    os.replace(unfinished_name(path), path)
    sync_folder(folder)


@contextmanager
def _alone(folder: Path, target: Path, *, wait: bool = False) -> Iterator[os.stat_result]:
    """Hold the folder's lock, which the system releases even from a killed process."""
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise ModelError(
                f'another export into {target} is running; wait for it or stop it'
            ) from None
        yield os.fstat(descriptor)
    finally:
        os.close(descriptor)


def _linked_to(target: Path) -> Path:
    return Path(os.path.realpath(target))


def _is_still(path: Path, made: os.stat_result) -> bool:
    """Return whether a name still means the folder it meant, which landing gives another name."""
    return path.exists() and os.path.samestat(path.stat(), made)


def _restore(target: Path) -> None:
    """Bring a model back that was being replaced when the machine stopped."""
    replaced = target.parent / f'.{target.name}{_REPLACED}'
    if replaced.exists() and not target.exists():
        replaced.rename(target)
    shutil.rmtree(replaced, ignore_errors=True)


def _empty(folder: Path) -> None:
    for item in folder.iterdir():
        if item.is_dir():
            shutil.rmtree(item)
        else:
            item.unlink()


def _remove_unfinished(folder: Path) -> None:
    for path in folder.glob(f'.*{UNFINISHED}'):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
