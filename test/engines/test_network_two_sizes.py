# SPDX-License-Identifier: Apache-2.0
"""Engines that run networks have two sizes of one model at hand, and say when one is missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')
pytest.importorskip('scipy', reason='needs scipy')

from network_engines import pictures, settings
from PIL import Image
from tensorrt_world import simulated_world
from tiny_model import QUICK_SHAPE, quick_model

from mast3r_ros.cli.reconstruct import main as reconstruct
from mast3r_ros.config import MASt3RRuntimeConfig, PipelineConfig
from mast3r_ros.core.products import Product
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.engines.network_engine import NetworkEngine
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
from mast3r_ros.engines.openvino_engine.engine import OpenVinoEngine
from mast3r_ros.engines.pytorch import PyTorchEngine
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine
from mast3r_ros.errors import InvalidInput, Mast3rError, ModelNotFound
from mast3r_ros.models.description import Shape
from mast3r_ros.sequence.answers import EngineAnswers

LARGE: Shape = (98, 140)  # of a 4:3 image at resolution 140
SMALL: Shape = QUICK_SHAPE  # at 112
BOTH = ((LARGE, LARGE), (SMALL, SMALL))

Make = Callable[[MASt3RRuntimeConfig], NetworkEngine]


@pytest.fixture(
    params=[
        ProcessorEngine,
        PyTorchEngine,
        TensorRtEngine,
        pytest.param(
            OpenVinoEngine,
            marks=pytest.mark.skipif(find_spec('openvino') is None, reason='needs openvino'),
        ),
    ]
)
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    if request.param is TensorRtEngine:
        with simulated_world(tmp_path):
            yield lambda config: TensorRtEngine(config.replace(cache_dir=tmp_path))
    else:
        yield request.param


def two_sizes(**model: Any) -> MASt3RRuntimeConfig:
    values = {'resolution': 140, 'tracking_resolution': 112, **model}
    return settings(quick_model(BOTH), threads=1, **values)


def refusal(config: MASt3RRuntimeConfig, kind: type[Mast3rError]) -> str:
    with pytest.raises(kind) as caught:
        ProcessorEngine(config).close()
    return str(caught.value)


def test_pairs_of_both_sizes_are_answered_in_turn_and_nothing_is_loaded_twice(make: Make) -> None:
    config = two_sizes()
    loaded: list[tuple[str, Shape]] = []
    with make(config) as engine, EngineWorker(lambda: engine) as worker:
        worker.wait_ready()
        load = engine._load

        def noting(stage: str, shape_1: Shape, shape_2: Shape) -> bool:
            took_work = load(stage, shape_1, shape_2)
            loaded.extend([(stage, shape_1)] if took_work else [])
            return took_work

        engine._load = noting
        answers = EngineAnswers(worker, PipelineConfig(model=config.model))
        views = [View(image) for image in pictures()]
        for _ in range(2):
            for small, shape in ((False, LARGE), (True, SMALL)):
                result = answers.pair(*views, Product.ALL, for_tracking=small)
                assert result.cloud_1.points.shape == (*shape, 3)
                assert result.cloud_2.grid.image.shape == (*shape, 3)
                assert (result.matches.uv_1 <= (159.5, 119.5)).all()
        assert len(loaded) == len(set(loaded))
        assert answers.has_tracking_size


def test_what_is_sure_to_come_is_loaded_at_the_start_at_both_sizes() -> None:
    with ProcessorEngine(two_sizes()) as engine:
        for shape in (LARGE, SMALL):
            assert not engine._load('encoder', shape, shape)
            assert not engine._load('decoder', shape, shape)


def test_without_the_setting_there_is_one_size() -> None:
    with ProcessorEngine(two_sizes(tracking_resolution=None)) as engine:
        assert not engine.has_tracking_size
        view = View(pictures()[0])
        np.testing.assert_array_equal(
            engine.prepare_for_tracking(view).image, engine.prepare(view).image
        )


def test_a_folder_without_the_smaller_size_names_the_command_that_adds_it() -> None:
    folder = quick_model()
    said = refusal(settings(folder, tracking_shape=(56, 84)), ModelNotFound)
    assert 'model.tracking_shape asks for a network input of 84x56' in said
    assert '--size 84x56' in said
    assert str(folder) in said


def test_the_smaller_size_of_a_resolution_is_that_of_the_model_s_own_images() -> None:
    said = refusal(two_sizes(tracking_resolution=126), ModelNotFound)
    assert 'model.tracking_resolution asks for a network input of 126x84' in said
    assert '--size 126x84' in said


@pytest.mark.parametrize('values', [{'tracking_resolution': 140}, {'tracking_shape': LARGE}])
def test_a_size_for_tracking_must_be_smaller(values: dict[str, Any]) -> None:
    said = refusal(two_sizes(**{'tracking_resolution': None, **values}), InvalidInput)
    assert f'{next(iter(values))} gives 140x98' in said
    assert 'not smaller than' in said


def test_an_image_of_another_shape_names_the_setting_of_the_size_that_it_lacks() -> None:
    with (
        ProcessorEngine(two_sizes()) as engine,
        pytest.raises(InvalidInput, match=r'choose another model\.tracking_resolution'),
    ):
        engine.prepare_for_tracking(View(np.zeros((120, 120, 3), np.uint8)))


def test_a_reconstruction_is_asked_for_it_by_an_option(tmp_path: Path) -> None:
    for name, image in zip(('a.png', 'b.png'), pictures(), strict=True):
        Image.fromarray(image).save(tmp_path / name)
    output = tmp_path / 'run'
    words = [str(tmp_path), '--output', str(output), '--model', str(quick_model(BOTH))]
    words += ['--backend', 'onnxruntime', '--resolution', '140', '--tracking-resolution']
    assert reconstruct([*words, '112']) == 0
    report = json.loads((output / 'run.json').read_text())
    assert report['settings']['model']['tracking_resolution'] == 112
    assert reconstruct([*words, '140', '--force']) == 1  # it is not smaller
