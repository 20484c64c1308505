# SPDX-License-Identifier: Apache-2.0
"""A server with small published weights, and mast3r-download run against it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from support.http_world import HttpWorld, Served, http_world

from mast3r_ros.choices import ModelVariant
from mast3r_ros.cli import download
from mast3r_ros.models import catalogue, transfer

VARIANT = ModelVariant.DUST3R_512_LINEAR
TINY = {'enc_dim': 64, 'enc_depth': 2, 'enc_heads': 2, 'dec_dim': 48, 'dec_depth': 10}
ABOUT_BYTES = 4_200_000
REAL = catalogue.MODELS[VARIANT]
NAME = REAL.files[0].name
HUGGING_FACE_NAME = REAL.hugging_face[0].path.partition('/')[0]


def small_model() -> catalogue.PublishedModel:
    """Return the catalogue's entry with the dimensions and size of the golden case."""
    return replace(
        REAL,
        dimensions={**REAL.dimensions, **TINY, 'dec_heads': 3},
        files=(replace(REAL.files[0], about_bytes=ABOUT_BYTES),),
        hugging_face=tuple(replace(file, about_bytes=ABOUT_BYTES) for file in REAL.hugging_face),
    )


@contextmanager
def download_world(monkeypatch: pytest.MonkeyPatch, content: bytes) -> Iterator[HttpWorld]:
    """Run a server with the file, which the catalogue knows as a published one."""
    monkeypatch.setitem(catalogue.MODELS, VARIANT, small_model())
    monkeypatch.setattr(transfer, '_LARGEST_PAUSE_S', 0.01)
    monkeypatch.delenv(download.MIRROR_VARIABLE, raising=False)
    with http_world() as server:
        server.files[f'/{NAME}'] = Served(content)
        yield server


def fetch(world: HttpWorld, folder: Path, *words: str) -> int:
    """Run the command against the server."""
    given = ['--variant', VARIANT.value, '--output', str(folder), '--url', world.url]
    return download.main([*given, '--accept-license', *words])


def command(world: HttpWorld, folder: Path, *, accept: bool = True) -> list[str]:
    """Return the command in a process of its own, which knows the small model."""
    script = (
        'import sys\n'
        'from dataclasses import replace\n'
        'from mast3r_ros.cli import download\n'
        'from mast3r_ros.models import catalogue\n'
        f'variant = catalogue.ModelVariant({VARIANT.value!r})\n'
        'real = catalogue.MODELS[variant]\n'
        'catalogue.MODELS[variant] = replace(real,\n'
        f'    dimensions={{**real.dimensions, **{TINY!r}}},\n'
        f'    files=(replace(real.files[0], about_bytes={ABOUT_BYTES}),))\n'
        'sys.exit(download.main(sys.argv[1:]))\n'
    )
    words = ['--variant', VARIANT.value, '--output', str(folder), '--url', world.url]
    return [sys.executable, '-c', script, *words, *(['--accept-license'] if accept else [])]


def error_of(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line in which the command said what was wrong."""
    lines = [line for line in capsys.readouterr().err.splitlines() if ' error: ' in line]
    assert len(lines) == 1
    return lines[0]


def leftovers(folder: Path) -> list[str]:
    """Return the names of what lies in a folder."""
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []
