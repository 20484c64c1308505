# SPDX-License-Identifier: Apache-2.0
"""The stages of a network in PyTorch: run as they are, or written as graphs at a precision."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray

from mast3r_ros.config import Precision
from mast3r_ros.export.answers import RunStage, Tensors
from mast3r_ros.export.card_int8 import quantise_for_cards
from mast3r_ros.export.graph_files import write_graph
from mast3r_ros.export.graphs import trace
from mast3r_ros.export.quantise import quantise_dynamically
from mast3r_ros.export.stage_ports import IMAGE, Ports, stage_ports
from mast3r_ros.export.static_int8 import quantise_statically
from mast3r_ros.export.weight_rows import store_rows
from mast3r_ros.export.weight_store import WeightStore
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.description import DECODER, ENCODER, Shape
from mast3r_ros.models.networks.stages import Stages

# The type of tokens between stages; everything else, at any precision, is float32.
_TOKEN_TYPES = {Precision.FP16: torch.float16, Precision.INT8_FP16: torch.float16}
# In eight bits: the trunk and the first product of the descriptors. What makes the answer itself
# stays in float32, and so do the few products of the points' heads, which are mostly convolutions.
_EIGHT_BIT_STAGES = (ENCODER, DECODER, 'descriptors_1', 'descriptors_2')
_EIGHT_BIT_ON_CARDS = (ENCODER, DECODER)
_FOR_PROCESSORS = (Precision.FP32, Precision.BF16, Precision.INT8)
_LAST_PRODUCT = '.head_local_features.fc2.weight'


def eager_runner(architecture: Architecture, stages: Stages) -> RunStage:
    """Return what runs the stages in PyTorch, in float32."""

    def run(stage: str, view: int, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        tensors = [torch.from_numpy(values) for values in inputs.values()]
        with torch.inference_mode():
            made = _module(stages, stage, view)(*tensors)
        made = made if isinstance(made, tuple) else (made,)
        names = _names_out(architecture, stage)
        return {name: tensor.numpy() for name, tensor in zip(names, made, strict=True)}

    return run


def write_stage(
    stages: Stages,
    stage: str,
    ports: Ports,
    precision: Precision,
    path: Path,
    weights: WeightStore,
    samples: Sequence[Tensors] = (),
) -> None:
    """Trace one stage and write its graph; its weights go into the shared file.

    :param stages: already brought to that precision (int8: float32, int8_fp16: float16).
    :param samples: what the stage gets for some pictures; with them int8 is calibrated.
    """
    module = _module(stages, stage, 1)
    model = trace(module, list(_examples(ports, precision)), list(ports.inputs), ports.outputs)
    parameters = dict.fromkeys(name for name, _ in module.named_parameters())
    if precision is Precision.INT8 and stage in _EIGHT_BIT_STAGES:
        last = frozenset(name for name in parameters if name.endswith(_LAST_PRODUCT))
        if samples:
            model, names = quantise_statically(
                model, samples, parameters, last, path.stem, path.parent
            )
            parameters = dict.fromkeys(names)
        else:
            parameters |= dict.fromkeys(quantise_dynamically(model, last))
    if precision is Precision.INT8_FP16 and stage in _EIGHT_BIT_ON_CARDS:
        parameters = dict.fromkeys(
            quantise_for_cards(model, samples, parameters, path.stem.lstrip('.'))
        )
    if precision in _FOR_PROCESSORS:
        parameters = dict.fromkeys(store_rows(model, parameters))
    write_graph(model, path, weights, parameters)


def _module(stages: Stages, stage: str, view: int) -> torch.nn.Module:
    module = getattr(stages, f'{stage}_{view}' if stage == ENCODER else stage)
    assert isinstance(module, torch.nn.Module)
    return module


def _names_out(architecture: Architecture, stage: str) -> tuple[str, ...]:
    patch: Shape = (architecture.patch_px, architecture.patch_px)
    return stage_ports(architecture, stage, patch, patch).outputs


def _examples(ports: Ports, precision: Precision) -> Iterator[torch.Tensor]:
    tokens = _TOKEN_TYPES.get(precision, torch.float32)
    for name, shape in ports.inputs.items():
        yield torch.zeros(shape, dtype=torch.uint8 if name == IMAGE else tokens)
