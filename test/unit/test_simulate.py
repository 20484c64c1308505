# SPDX-License-Identifier: Apache-2.0
"""mast3r-simulate: what it writes is what the other commands take, and it harms no files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from mast3r_ros.cli import match, simulate
from mast3r_ros.sim.pair_files import PAIR_FILES

README = Path(__file__).parents[2] / 'README.md'
SMALL = ('--size', '160x120')


def test_the_pair_gives_a_cloud_in_metres_that_fits_the_true_depth(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert simulate.main([*SMALL]) == 0
    assert capsys.readouterr().out.split() == list(PAIR_FILES)
    words = ['left.png', 'right.png', '--backend', 'geometric', '--cloud', 'cloud.ply']
    words += ['--calibration-1', 'left.yaml', '--calibration-2', 'right.yaml']
    assert match.main([*words, '--truth', 'depth.npy']) == 0
    said = capsys.readouterr().out
    assert 'points in metres' in said
    assert 'scaled by' not in said  # the unit is right as it is
    median = float(said.partition('median ')[2].partition(' m')[0])
    assert median < 0.03 * np.nanmedian(np.load('depth.npy'))


def test_the_readme_s_program_runs_on_the_pair(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert simulate.main([*SMALL]) == 0
    program = re.search(r'```python\n(.*?)```', README.read_text(encoding='utf-8'), re.DOTALL)
    capsys.readouterr()
    exec(compile(program[1], 'README.md', 'exec'), {})
    assert capsys.readouterr().out.startswith('(120, 160, 3) ')


def test_the_bag_is_followed_along_the_true_path(tmp_path: Path, capsys) -> None:
    pytest.importorskip('rosbags', reason='needs rosbags')
    pytest.importorskip('scipy')
    from mast3r_ros.cli import evaluate, reconstruct

    folder = str(tmp_path / 'new')
    assert simulate.main([folder, '--bag', '--seconds', '0.6', '--size', '320x240']) == 0
    run = str(tmp_path / 'run')
    words = [f'{folder}/flight', '--mode', 'stereo', '--backend', 'geometric', '--keep', '']
    assert reconstruct.main([*words, '--output', run]) == 0
    capsys.readouterr()
    assert evaluate.main([f'{run}/trajectory.txt', f'{folder}/truth.txt', '--align', 'se3']) == 0
    said = capsys.readouterr().out
    assert '6 of 6 poses have a true one' in said
    rmse = float(said.partition('ATE, position')[2].split()[0])
    assert rmse < 0.02


@pytest.mark.parametrize('name', ['right.png', 'flight'])
def test_files_that_are_there_are_kept(name: str, tmp_path: Path, capsys) -> None:
    (tmp_path / name).write_text('mine')
    assert simulate.main([str(tmp_path), '--bag', *SMALL]) == 1
    assert f'{name} exists already' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == 'mine'


def test_force_replaces_files_and_bags_and_nothing_else(tmp_path: Path, capsys) -> None:
    pytest.importorskip('rosbags', reason='needs rosbags')
    words = [str(tmp_path), '--bag', '--seconds', '0.2', *SMALL]
    assert simulate.main(words) == 0
    assert simulate.main([*words, '--force']) == 0
    (tmp_path / 'flight' / 'notes.txt').write_text('mine')
    assert simulate.main([*words, '--force']) == 1
    assert 'notes.txt' in capsys.readouterr().err
    assert (tmp_path / 'flight' / 'metadata.yaml').is_file()


@pytest.mark.parametrize('seconds', ['0', '-1', '17', 'nan'])
def test_a_length_that_cannot_be_is_refused(seconds: str, tmp_path: Path, capsys) -> None:
    assert simulate.main([str(tmp_path / 'new'), '--bag', '--seconds', seconds]) == 1
    assert 'allowed are 0.1 to 16' in capsys.readouterr().err
    assert not (tmp_path / 'new').exists()
