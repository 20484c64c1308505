# SPDX-License-Identifier: Apache-2.0
"""Promises about the documents: every picture they name is there, and every one is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / 'docs' / 'pictures'
DOCUMENTS = [*ROOT.glob('*.md'), *(ROOT / 'docs').rglob('*.md')]
MOST_BYTES = 200_000
ENDINGS = ('.png', '.jpg', '.jpeg', '.svg', '.gif', '.webp')
SHOWN = re.compile(r'!\[([^\]]*)\]\(([^)\s]+)\)|<img[^>]*src="([^"]+)"')


def named() -> dict[Path, list[str]]:
    """Return each picture that a document shows, and how the documents describe it."""
    found: dict[Path, list[str]] = {}
    for document in DOCUMENTS:
        for match in SHOWN.finditer(document.read_text(encoding='utf-8')):
            target = match[2] or match[3]
            assert '://' not in target, f'{document.name} shows a picture of elsewhere: {target}'
            found.setdefault((document.parent / target).resolve(), []).append(match[1] or '')
    return found


def pictures() -> list[Path]:
    return sorted(path for path in PICTURES.iterdir() if path.suffix in ENDINGS)


def test_every_picture_that_a_document_shows_is_there():
    assert len(named()) > 3
    assert [str(path) for path in named() if not path.is_file()] == []


def test_every_picture_is_shown_by_a_document():
    assert [path.name for path in pictures() if path.resolve() not in named()] == []


def test_nothing_but_pictures_lies_among_the_pictures():
    assert sorted(PICTURES.iterdir()) == pictures()


def test_every_picture_is_told_to_those_who_cannot_see_it():
    assert [str(path) for path, words in named().items() if not all(words)] == []


@pytest.mark.parametrize('path', pictures(), ids=lambda path: path.name)
def test_a_picture_is_whole_and_small(path):
    assert path.stat().st_size <= MOST_BYTES
    with Image.open(path) as picture:
        picture.load()
        assert min(picture.size) >= 100
