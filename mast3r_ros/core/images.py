# SPDX-License-Identifier: Apache-2.0
"""Image and mask files as arrays: upright, RGB, with errors in words."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from mast3r_ros.core.views import ImageArray, MaskArray
from mast3r_ros.errors import InvalidInput


def load_image(path: str | Path) -> ImageArray:
    """Read a picture as uint8 RGB (H, W, 3), turned upright as its EXIF orientation says."""
    image = _open(path)
    if image.mode.startswith('I'):  # 16 bits of grey, which Pillow would clip at 255
        gray = np.clip(np.asarray(image), 0, 65535) >> 8
        return np.repeat(gray.astype(np.uint8)[..., None], 3, axis=2)
    return np.array(image.convert('RGB'))


def load_mask(path: str | Path) -> MaskArray:
    """Read a mask picture as bool (H, W): black takes no part, everything else does."""
    return np.asarray(np.array(_open(path).convert('RGB')).any(axis=2))


def _open(path: str | Path) -> Image.Image:
    try:
        with Image.open(path) as image:
            image.load()
            return ImageOps.exif_transpose(image)
    except FileNotFoundError:
        raise InvalidInput(f'{path} does not exist; give the path of an image file') from None
    except IsADirectoryError:
        raise InvalidInput(f'{path} is a folder; give the path of an image file') from None
    except UnidentifiedImageError:
        raise InvalidInput(f'{path} is no image that can be read; give a PNG or JPEG') from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise InvalidInput(f'{path} cannot be read: {error}') from error
