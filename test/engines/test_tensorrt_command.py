# SPDX-License-Identifier: Apache-2.0
"""mast3r-export --target tensorrt builds for this machine's card what the model there needs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from tensorrt_world import World, simulated_world
from tiny_model import quick_model

from mast3r_ros.cli.export import main
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine

STAGES = 6


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with simulated_world(tmp_path) as made:
        yield made
        assert made.card.left() == {}


def words(world: World, *more: str) -> list[str]:
    cache = ['--cache-dir', str(world.cache)]
    return ['--target', 'tensorrt', *cache, '--output', str(quick_model()), *more]


def test_it_builds_what_the_engine_then_finds(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(world, '--json', '--level', '4', '--workspace-mb', '256')) == 0
    facts = json.loads(capsys.readouterr().out)
    assert len(facts['built']) == len(facts['trtexec']) == STAGES
    assert facts['there_already'] == []
    assert facts['card'] == 'Simulated Orin'
    assert world.tensorrt.configs[0].builder_optimization_level == 4
    assert '--memPoolSize=workspace:256' in facts['trtexec'][0]
    TensorRtEngine(world.settings(quick_model())).close()
    assert len(world.tensorrt.builds) == STAGES


def test_a_second_run_builds_nothing_unless_it_is_told_to(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(world)) == 0
    assert main(words(world)) == 0
    said = capsys.readouterr().out
    assert 'was there already: 84x112_encoder.engine' in said
    assert 'trtexec --onnx=' in said
    assert len(world.tensorrt.builds) == STAGES
    assert main(words(world, '--overwrite')) == 0
    assert len(world.tensorrt.builds) == 2 * STAGES


def test_a_size_that_the_model_lacks_is_named(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(world, '--size', '112x84')) == 0
    assert main(words(world, '--size', '140x84')) == 1
    assert (
        'lacks the size 140x84, it has 112x84; export that size first' in capsys.readouterr().err
    )


def test_without_a_model_it_says_how_to_get_one(
    world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['--target', 'tensorrt', '--cache-dir', str(world.cache)]) == 1
    error = capsys.readouterr().err
    assert 'mast3r-export --variant dune_vit_small' in error


@pytest.mark.parametrize(
    ('more', 'said'),
    [
        (['--workspace-mb', '-1'], '--workspace-mb is -1'),
        (['--image-size', '640x480'], 'give them with --size'),
        (['--device', '4'], 'runtime.device is 4'),
    ],
)
def test_wrong_use_is_one_sentence(
    more: list[str], said: str, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words(world, *more)) == 1
    assert said in capsys.readouterr().err
