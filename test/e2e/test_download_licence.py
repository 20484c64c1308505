# SPDX-License-Identifier: Apache-2.0
"""Nothing is fetched before its licence is accepted, once for a folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs torch')

from support.download_world import (
    NAME,
    REAL,
    VARIANT,
    command,
    fetch,
    leftovers,
)
from support.http_world import HttpWorld

from mast3r_ros.cli import download


def without_accepting(world: HttpWorld, folder: Path) -> int:
    return download.main(['--variant', VARIANT.value, '--output', str(folder), '--url', world.url])


def test_without_terminal_and_acceptance_nothing_is_fetched(
    world: HttpWorld,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with open(os.devnull) as nothing:
        monkeypatch.setattr(sys, 'stdin', nothing)
        assert without_accepting(world, tmp_path) == 1
    shown = capsys.readouterr().err
    assert '--accept-license' in shown
    assert 'Non-commercial' in shown
    assert REAL.licences[0].url in shown
    assert world.asked == []
    assert leftovers(tmp_path) == []


def test_an_accepted_licence_is_remembered(world: HttpWorld, tmp_path: Path) -> None:
    assert fetch(world, tmp_path) == 0
    (tmp_path / NAME).unlink()
    assert without_accepting(world, tmp_path) == 0


def test_the_next_command_finds_the_weights_where_they_were_put(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = f'next: mast3r-export --variant {VARIANT.value}'
    folder = tmp_path / 'my weights'
    assert fetch(world, folder) == 0
    assert f"{export} --checkpoint '{folder / NAME}' (" in capsys.readouterr().out
    words = ['--variant', VARIANT.value, '--url', world.url, '--accept-license']
    assert download.main([*words, '--cache-dir', str(tmp_path)]) == 0
    assert f'{export} --cache-dir {tmp_path} (' in capsys.readouterr().out


def test_a_licence_that_is_accepted_beforehand_is_shown_in_a_line(
    world: HttpWorld, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fetch(world, tmp_path) == 0
    (licence,) = REAL.licences
    shown = capsys.readouterr().err.splitlines()
    (line,) = [line for line in shown if licence.name in line]
    assert licence.notice in line
    assert licence.url in line


@pytest.mark.parametrize(
    ('answer', 'code'), [('y', 0), ('yes', 0), ('n', 1), ('', 1), ('what', 1)]
)
def test_on_a_terminal_the_licence_is_asked_about(
    answer: str, code: int, world: HttpWorld, tmp_path: Path, content: bytes
) -> None:
    """On a real terminal, with the command in a process of its own."""
    import pty

    ours, theirs = pty.openpty()
    os.write(ours, f'{answer}\n'.encode())
    process = subprocess.Popen(
        command(world, tmp_path / 'checkpoints', accept=False),
        stdin=theirs,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    _, shown = process.communicate()
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code
    assert 'Do you accept this licence? [y/N]' in shown
    assert bool(world.asked) == (code == 0)
