# SPDX-License-Identifier: Apache-2.0
"""Picture files become upright RGB arrays and masks, whatever they are stored as."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mast3r_ros.core.images import load_image, load_mask
from mast3r_ros.errors import InvalidInput

EXIF_ORIENTATION = 0x0112


def picture(width: int = 40, height: int = 30) -> np.ndarray:
    rng = np.random.default_rng(5)
    return rng.integers(0, 256, (height, width, 3), np.uint8)


def test_a_picture_is_read_as_uint8_rgb_unchanged(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / 'a.png')
    loaded = load_image(tmp_path / 'a.png')
    assert loaded.dtype == np.uint8
    np.testing.assert_array_equal(loaded, picture())


def test_a_picture_may_be_written_into(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / 'a.png')
    load_image(tmp_path / 'a.png')[0, 0] = 0


@pytest.mark.parametrize(
    ('orientation', 'turn'),
    [
        (1, lambda image: image),
        (2, lambda image: image[:, ::-1]),
        (3, lambda image: image[::-1, ::-1]),
        (4, lambda image: image[::-1]),
        (5, lambda image: image.transpose(1, 0, 2)),
        (6, lambda image: np.rot90(image, -1)),
        (7, lambda image: image[::-1, ::-1].transpose(1, 0, 2)),
        (8, lambda image: np.rot90(image)),
    ],
)
def test_a_turned_picture_comes_upright(orientation, turn, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    Image.fromarray(picture()).save(tmp_path / 'a.png', exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / 'a.png'), turn(picture()))


def test_grey_palette_and_transparent_pictures_become_rgb(tmp_path: Path) -> None:
    grey = Image.fromarray(picture()[..., 0])
    for name, image in {
        'grey': grey,
        'palette': grey.convert('P'),
        'transparent': grey.convert('RGBA'),
        'bitmap': grey.convert('1'),
    }.items():
        image.save(tmp_path / f'{name}.png')
        loaded = load_image(tmp_path / f'{name}.png')
        assert (loaded.shape, loaded.dtype) == ((30, 40, 3), np.uint8)
        np.testing.assert_array_equal(loaded, np.asarray(image.convert('RGB')))


def test_a_16_bit_grey_picture_keeps_its_shades(tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 256 * 4).astype(np.uint16).reshape(4, 256)
    Image.fromarray(deep).save(tmp_path / 'deep.png')
    loaded = load_image(tmp_path / 'deep.png')
    np.testing.assert_array_equal(loaded, np.repeat((deep >> 8)[..., None], 3, axis=2))


def test_in_a_mask_black_takes_no_part_and_everything_else_does(tmp_path: Path) -> None:
    mask = np.zeros((4, 5), np.uint8)
    mask[0, 0], mask[1, 1], mask[2, 2] = 1, 128, 255
    Image.fromarray(mask).save(tmp_path / 'mask.png')
    loaded = load_mask(tmp_path / 'mask.png')
    assert loaded.dtype == np.bool_
    np.testing.assert_array_equal(loaded, mask > 0)


@pytest.mark.parametrize('color', [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 128), (255, 255, 255)])
def test_in_a_coloured_mask_every_colour_but_black_takes_part(color, tmp_path: Path) -> None:
    mask = np.zeros((4, 5, 3), np.uint8)
    mask[1, 2] = color
    Image.fromarray(mask).save(tmp_path / 'mask.png')
    np.testing.assert_array_equal(load_mask(tmp_path / 'mask.png'), mask.any(axis=2))


def test_a_16_bit_mask_counts_every_value_but_0(tmp_path: Path) -> None:
    mask = np.zeros((4, 5), np.uint16)
    mask[0, 0], mask[1, 1], mask[2, 2] = 1, 256, 65535
    Image.fromarray(mask).save(tmp_path / 'mask.png')
    np.testing.assert_array_equal(load_mask(tmp_path / 'mask.png'), mask > 0)


def test_a_turned_mask_comes_upright_like_its_picture(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = 6
    mask = picture()[..., 0] > 128
    Image.fromarray(mask).save(tmp_path / 'mask.png', exif=exif)
    np.testing.assert_array_equal(load_mask(tmp_path / 'mask.png'), np.rot90(mask, -1))


@pytest.mark.parametrize('load', [load_image, load_mask])
def test_a_file_that_cannot_be_read_is_one_sentence_with_its_path(load, tmp_path: Path) -> None:
    (tmp_path / 'text.png').write_text('no picture')
    (tmp_path / 'empty.png').write_bytes(b'')
    Image.fromarray(picture(400, 300)).save(tmp_path / 'whole.png')
    (tmp_path / 'cut.png').write_bytes((tmp_path / 'whole.png').read_bytes()[:5000])
    for name, word in {
        'nowhere.png': 'does not exist',
        'text.png': 'is no image',
        'empty.png': 'is no image',
        'cut.png': 'cannot be read',
        '.': 'is a folder',
    }.items():
        with pytest.raises(InvalidInput, match=word) as caught:
            load(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
