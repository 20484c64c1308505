# SPDX-License-Identifier: Apache-2.0
"""Which network is measured on which engines."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_ros.config import Precision
from mast3r_ros.models.architecture import Architecture

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'support'))

if TYPE_CHECKING:
    from published_pair import PublishedPair

LEAST_ROUNDS, MOST_ROUNDS = 2, 5
NEEDED = ('torch', 'onnx', 'onnxscript', 'onnxruntime')


@dataclass(frozen=True)
class Candidate:
    """An engine that answers the network."""

    name: str
    backend: str
    precision: str
    exported: Precision
    calibrated: bool = False
    needs: tuple[str, ...] = ()


# OpenVINO rounds the float32 folder to bfloat16 by itself, so that none has to be exported for it.
CANDIDATES = (
    Candidate('ONNX Runtime fp32', 'onnxruntime', 'fp32', Precision.FP32),
    Candidate('ONNX Runtime int8', 'onnxruntime', 'int8', Precision.INT8, True, ('nncf',)),
    Candidate('OpenVINO fp32', 'openvino', 'fp32', Precision.FP32, needs=('openvino',)),
    Candidate('OpenVINO bf16', 'openvino', 'bf16', Precision.FP32, needs=('openvino',)),
    Candidate('OpenVINO int8', 'openvino', 'int8', Precision.INT8, True, ('openvino', 'nncf')),
)
ALL_CANDIDATES = (
    *CANDIDATES,
    Candidate('PyTorch fp32', 'pytorch', 'fp32', Precision.FP32),
    Candidate('ONNX Runtime int8, dynamic', 'onnxruntime', 'int8', Precision.INT8),
    Candidate('OpenVINO bf16 folder', 'openvino', 'bf16', Precision.BF16, needs=('openvino',)),
)


@dataclass(frozen=True)
class NetworkCase:
    """A network to measure.

    :param network: its name among those of the published dimensions.
    :param goals: ratios to reach, by engine and job.
    :param timed_s: as many rounds are timed as begin within these seconds, but for the bounds.
    """

    group: str
    name: str
    network: str
    shape: tuple[int, int]
    goals: Mapping[tuple[str, str], float] = field(default_factory=dict)
    timed_s: float = 80.0

    @property
    def architecture(self) -> Architecture:
        """The network's dimensions."""
        from full_size_model import full_size_architecture

        return full_size_architecture(self.network)

    def published(self) -> PublishedPair:
        """Return the network as a user of the published ones runs it."""
        from full_size_model import full_size_pair

        return full_size_pair(self.network)

    def folder(self, candidate: Candidate) -> Path:
        """Return the model folder that an engine runs, exported if need be."""
        from full_size_model import full_size_model

        return full_size_model(self.network, self.shape, candidate.exported, candidate.calibrated)


def missing_libraries(names: tuple[str, ...] = NEEDED) -> list[str]:
    """Return which libraries are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]
