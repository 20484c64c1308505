# SPDX-License-Identifier: Apache-2.0
"""What the tests of downloads share: small weights as published, and a server that has them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.http_world import HttpWorld


@pytest.fixture(scope='session')
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a small checkpoint in the layout of the published ones."""
    from support.checkpoint_files import SMALL, save_published  # needs torch

    return save_published(tmp_path_factory.mktemp('published') / 'a.pth', SMALL).read_bytes()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, content: bytes) -> Iterator[HttpWorld]:
    """A server with that checkpoint, which the catalogue knows as a published one."""
    from support.download_world import download_world

    with download_world(monkeypatch, content) as server:
        yield server
