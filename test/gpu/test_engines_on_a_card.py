# SPDX-License-Identifier: Apache-2.0
"""What `make test-gpu` runs for an hour, in short; skipped, with the reason, without a card."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from tensorrt_world import simulated_world
from tiny_model import quick_model

HERE = Path(__file__).parent


@pytest.fixture(scope='module')
def program() -> ModuleType:
    """The program that the command runs."""
    spec = importlib.util.spec_from_file_location('gpu_run', HERE / 'run.py')
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules['gpu_run'] = module
    spec.loader.exec_module(module)
    return module


def arguments(tmp_path: Path, backend: str, pairs: int) -> list[str]:
    model = ['--model', str(quick_model()), '--precisions', 'fp32', '--cache', str(tmp_path)]
    return [*model, '--backends', backend, '--pairs', str(pairs), '--rounds', '3']


@pytest.mark.gpu
@pytest.mark.parametrize('backend', ['pytorch', 'cuda', 'tensorrt'])
def test_it_is_right_and_steady_on_the_card(
    backend: str, program: ModuleType, tmp_path: Path
) -> None:
    why_not = program.obstacle(backend)
    if why_not:
        pytest.skip(f'needs an NVIDIA GPU and {backend} for it: {why_not}')
    assert program.main(arguments(tmp_path, backend, 100)) == 0


def test_the_program_itself_runs_to_its_table_without_a_card(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert program.main(arguments(tmp_path, 'onnxruntime', 12)) == 0
    said = capsys.readouterr().out
    assert '| onnxruntime fp32 |' in said
    assert '12 pairs, steady' in said


def test_the_program_runs_tensorrt_on_a_simulated_card(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    monkeypatch.setattr(program, 'obstacle', lambda _backend: '')
    monkeypatch.setattr(
        'mast3r_ros.engines.tensorrt_engine.presence.card_obstacle', lambda _devices: ''
    )
    with simulated_world(tmp_path) as world:
        assert program.main(arguments(tmp_path, 'tensorrt', 12)) == 0
        assert world.card.left() == {}
        world.tensorrt.spoil['points_1'] = 1.0
        assert program.main(arguments(tmp_path, 'tensorrt', 12)) == 1
    said = capsys.readouterr().out
    assert '| tensorrt fp32 |' in said
    assert 'WRONG: tensorrt fp32: the tensorrt engine on cuda:0 Simulated Orin answers' in said


def test_where_there_is_nothing_it_says_so(
    program: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if not program.obstacle('tensorrt'):
        pytest.skip('needs a machine without TensorRT')
    assert program.main(arguments(tmp_path, 'tensorrt', 1)) == 2
    assert 'not run: tensorrt: tensorrt is not installed' in capsys.readouterr().out


def test_memory_that_grows_is_a_fault(program: ModuleType) -> None:
    watch = program.MemoryWatch('cpu')
    watch._looks = [(100.0 + number, 50.0) for number in range(100)]
    assert watch.growth() == ['memory of the card grew by 81 MB over 90 pairs']
    watch._looks = [(100.0, 50.0 + number % 3) for number in range(100)]
    assert watch.growth() == []
