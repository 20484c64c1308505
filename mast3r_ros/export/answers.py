# SPDX-License-Identifier: Apache-2.0
"""What a network answers to a pair of images, whatever runs its stages, and the built-in pair."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.postprocess import descriptors, points
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import ImageArray
from mast3r_ros.errors import ModelError
from mast3r_ros.export.stage_ports import IMAGE, TOKENS, stage_ports, stages_of
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.check import Answers as Answers
from mast3r_ros.models.check import Check as Check
from mast3r_ros.models.description import DECODER, ENCODER, Shape

Tensors = dict[str, NDArray[Any]]

RunStage = Callable[[str, int, Mapping[str, NDArray[Any]]], Tensors]
"""Runs a stage by its name for view 1 or 2 (matters to the encoder) and returns its outputs."""


def built_in_pair(shape_1: Shape, shape_2: Shape) -> tuple[ImageArray, ImageArray]:
    """Return two made-up pictures of one textured wall; the same every time."""
    height, width = (max(sides) for sides in zip(shape_1, shape_2, strict=True))
    image_1, image_2 = made_up_pair(width, height)
    return (
        np.ascontiguousarray(image_1[: shape_1[0], : shape_1[1]]),
        np.ascontiguousarray(image_2[: shape_2[0], : shape_2[1]]),
    )


def answer_pair(
    architecture: Architecture, run: RunStage, image_1: ImageArray, image_2: ImageArray
) -> Answers:
    """Pass a pair through all stages and return everything that the network says of it."""
    shape_1, shape_2 = image_1.shape[:2], image_2.shape[:2]
    known: Tensors = {
        f'tokens_{view}': run(ENCODER, view, {IMAGE: image[None]})[TOKENS]
        for view, image in ((1, image_1), (2, image_2))
    }
    answers: Answers = {}
    for stage in stages_of(architecture):
        if stage == ENCODER:
            continue
        ports = stage_ports(architecture, stage, shape_1, shape_2)
        view = 2 if stage.endswith('2') else 1
        made = run(stage, view, {name: known[name] for name in ports.inputs})
        if stage == DECODER:
            known |= made
        elif stage.startswith('points'):
            answers[f'pts3d_{view}'], answers[f'conf_{view}'] = points(made[stage][0])
        else:
            answers[f'desc_{view}'], answers[f'desc_conf_{view}'] = descriptors(made[stage][0])
    return answers


def relative_errors(answers: Answers, reference: Answers) -> dict[str, float]:
    """Return the norm of each answer's difference over the norm of its reference."""
    _check_names(answers, reference)
    return {name: relative_error(answers[name], reference[name]) for name in reference}


def middle_errors(answers: Answers, reference: Answers) -> dict[str, float]:
    """Return the same in the middle pixel of each answer, where a few far points do not count."""
    _check_names(answers, reference)
    return {name: _middle_error(answers[name], reference[name]) for name in reference}


def relative_error(values: FloatArray, reference: FloatArray) -> float:
    """Return the norm of the difference over the norm of the reference; NaN counts as infinite."""
    exact = reference.astype(np.float64)
    difference = float(np.linalg.norm(values.astype(np.float64) - exact))
    error = difference / max(float(np.linalg.norm(exact)), 1e-30)
    return error if np.isfinite(error) else float('inf')


def _middle_error(values: FloatArray, reference: FloatArray) -> float:
    height, width = reference.shape[:2]
    exact = reference.astype(np.float64).reshape(height * width, -1)
    difference = np.linalg.norm(values.reshape(exact.shape) - exact, axis=1)
    errors = difference / np.maximum(np.linalg.norm(exact, axis=1), 1e-30)
    return float(np.median(errors)) if np.isfinite(errors).all() else float('inf')


def _check_names(answers: Answers, reference: Answers) -> None:
    if answers.keys() != reference.keys():
        raise ModelError(
            f'the answers are {", ".join(sorted(answers))} but the reference has '
            f'{", ".join(sorted(reference))}'
        )
