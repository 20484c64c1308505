# SPDX-License-Identifier: Apache-2.0
"""Exported graphs answer as the published networks do: checkpoint, export, plain ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from tiny_model import CASES, golden_case, tiny_model

from mast3r_ros.export.answers import Check, answer_pair, relative_error, relative_errors
from mast3r_ros.export.graph_runner import graph_runner, run_graph
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.description import ENCODER, Shape
from mast3r_ros.models.folder import ModelFolder

LIMIT = 2e-5


def path_of(folder: ModelFolder, shapes: tuple[Shape, Shape]):
    """Return what gives the file of a stage for view 1 or 2."""

    def path(stage: str, view: int) -> Path:
        if stage == ENCODER:
            return folder.stage_path(stage, shapes[view - 1])
        return folder.stage_path(stage, *shapes)

    return path


@pytest.mark.parametrize('name', CASES)
def test_graphs_give_the_published_answers(name: str) -> None:
    case = golden_case(name)
    folder = ModelFolder.open(tiny_model(name))
    run = graph_runner(path_of(folder, case.shapes))
    images = case.arrays['view1'], case.arrays['view2']
    errors = relative_errors(answer_pair(case.architecture, run, *images), case.answers)
    assert max(errors.values()) <= LIMIT, errors
    tokens = run_graph(
        folder.stage_path(ENCODER, case.shapes[0]), {'image': case.arrays['view1'][None]}
    )['tokens']
    assert relative_error(tokens[0], case.arrays['feat_1']) <= LIMIT


@pytest.mark.parametrize('name', CASES)
def test_the_check_of_a_folder_holds_for_its_graphs(name: str) -> None:
    folder = ModelFolder.open(tiny_model(name))
    check = Check.load(folder.path / folder.description.check)
    shape: Shape = check.image_1.shape[:2]
    assert shape == folder.description.shapes[0]
    architecture = Architecture.from_dict(folder.description.architecture)
    run = graph_runner(path_of(folder, (shape, shape)))
    found = check.sample(answer_pair(architecture, run, check.image_1, check.image_2))
    assert all(values.dtype == np.float32 for values in check.answers.values())
    assert max(relative_errors(found, check.answers).values()) <= LIMIT
