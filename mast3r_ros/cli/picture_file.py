# SPDX-License-Identifier: Apache-2.0
"""A picture written to the file that the user named."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from mast3r_ros.core.views import ImageArray
from mast3r_ros.errors import InvalidInput


def check_picture_file(path: str) -> None:
    """Raise :class:`InvalidInput` unless a picture can be written there; ask before the work."""
    kinds = Image.registered_extensions()
    ending = Path(path).suffix
    if kinds.get(ending.lower()) not in Image.SAVE:
        raise InvalidInput(
            f'cannot write {path} ({ending or "no ending"}); end its name with .png'
        )
    if not Path(path).parent.is_dir():
        raise InvalidInput(f'cannot write {path}: there is no folder {Path(path).parent}; make it')


def save_picture(path: str, picture: ImageArray) -> str:
    """Write RGB (H, W, 3) as the ending of the name says, and return the name."""
    check_picture_file(path)
    try:
        Image.fromarray(picture).save(path, optimize=True)
    except OSError as error:
        raise InvalidInput(f'cannot write {path}: {error.strerror or error}') from error
    return path
