# SPDX-License-Identifier: Apache-2.0
"""One size of a network: all its graphs, and the proof that they answer as PyTorch does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from mast3r_ros.config import Precision
from mast3r_ros.errors import ModelError
from mast3r_ros.export.answers import (
    Answers,
    Check,
    answer_pair,
    built_in_pair,
    middle_errors,
    relative_errors,
)
from mast3r_ros.export.calibration import PicturePairs, sample_stages
from mast3r_ros.export.graph_checks import check_graph
from mast3r_ros.export.graph_runner import CannotRun, can_run_graphs, graph_runner
from mast3r_ros.export.source import ModelSource
from mast3r_ros.export.stage_ports import stage_ports, stages_of
from mast3r_ros.export.weight_store import WeightStore
from mast3r_ros.models.description import ENCODER, Shape, graph_file, size_name

# What only a broken graph reaches. In float32 the norm of the difference over the norm of the
# answer; else the same in the middle pixel, for a few far points may move a lot. How good a
# precision is for a network's real weights is for a comparison on real pictures to say.
_BROKEN = {
    Precision.FP32: 1e-3,
    Precision.FP16: 0.1,
    Precision.BF16: 0.2,
    Precision.INT8: 0.5,
    Precision.INT8_FP16: 0.5,
}


@dataclass
class Target:
    """Where graphs go, and what they are called while they are unfinished."""

    folder: Path
    weights: WeightStore
    unfinished: Callable[[Path], Path] = lambda path: path
    written: list[Path] = field(default_factory=list)  # under their final names

    def path(self, shape_1: Shape, shape_2: Shape, stage: str) -> Path:
        """Return where the graph of a stage lies at this moment."""
        path = self.folder / graph_file(stage, shape_1, shape_2)
        return self.unfinished(path) if path in self.written else path

    def new_path(self, shape_1: Shape, shape_2: Shape, stage: str) -> Path:
        """Return where to write the graph of a stage."""
        self.written.append(self.folder / graph_file(stage, shape_1, shape_2))
        return self.path(shape_1, shape_2, stage)


@dataclass(frozen=True)
class SizeOutcome:
    """What came of one size.

    :param check: the built-in pair and what the network answers to it in PyTorch.
    :param largest_error: of the graphs' answers; None where they could not be run here.
    """

    check: Check
    largest_error: float | None
    notes: tuple[str, ...]


class SizeExport:
    """Writes and checks the graphs of one pair of shapes.

    :param tell: is told how far this size is, from 0 to 1, and what comes next.
    :param pictures: what int8 is calibrated with.
    """

    def __init__(
        self,
        source: ModelSource,
        precision: Precision,
        shapes: tuple[Shape, Shape],
        target: Target,
        tell: Callable[[float, str], None],
        pictures: PicturePairs = (),
    ) -> None:
        self.name = size_name(*shapes)
        self._notes: list[str] = []
        self._source = source
        self._precision = precision
        self._shapes = shapes
        self._target = target
        self._tell = tell
        self._pictures = pictures
        names = stages_of(source.architecture)
        self._stages = names if shapes[0] == shapes[1] else names[1:]
        self._images = built_in_pair(*shapes)

    def run(self) -> SizeOutcome:
        """Do it all.

        :raises ModelError: what was written is not what it should be.
        """
        answers = self._write_graphs()
        check = Check.of(*self._images, answers)
        return SizeOutcome(check, self._prove(answers), tuple(self._notes))

    def _write_graphs(self) -> Answers:
        """Write the graphs and return what the network answers in PyTorch, in float32."""
        from mast3r_ros.export.stage_export import eager_runner, write_stage

        architecture = self._source.architecture
        self._tell(0.0, f'{self.name}: loading the weights')
        network = self._source.build(*self._shapes)
        self._tell(0.05, f'{self.name}: answering in PyTorch')
        run = eager_runner(architecture, network)
        answers = answer_pair(architecture, run, *self._images)
        samples = sample_stages(architecture, run, self._pictures, self._shapes).by_stage
        network = self._source.to_precision(network, self._precision)
        for index, stage in enumerate(self._stages):
            self._tell(0.1 + 0.6 * index / len(self._stages), f'{self.name}: {stage}')
            ports = stage_ports(architecture, stage, *self._shapes)
            path = self._target.new_path(*self._shapes, stage)
            weights, got = self._target.weights, samples.get(stage, [])
            write_stage(network, stage, ports, self._precision, path, weights, got)
        return answers

    def _prove(self, answers: Answers) -> float | None:
        """Check every graph and compare what they answer; return the largest relative error."""
        self._tell(0.7, f'{self.name}: checking the graphs')
        self._target.weights.sync()
        for stage in self._stages:
            check_graph(self._target.path(*self._shapes, stage))
        if not can_run_graphs():
            self._notes.append('onnxruntime is not installed: the graphs were checked, not run')
            return None
        self._tell(0.75, f'{self.name}: answering in ONNX Runtime')
        try:
            run = graph_runner(self._path)
            found = answer_pair(self._source.architecture, run, *self._images)
        except CannotRun as error:
            self._notes.append(f'the graphs were checked, not run: {error}')
            return None
        self._judge(found, answers)
        return max(relative_errors(found, answers).values())

    def _path(self, stage: str, view: int) -> Path:
        if stage == ENCODER:
            shape = self._shapes[view - 1]
            return self._target.path(shape, shape, stage)
        return self._target.path(*self._shapes, stage)

    def _judge(self, found: Answers, answers: Answers) -> None:
        exact = self._precision is Precision.FP32
        errors = (relative_errors if exact else middle_errors)(found, answers)
        worst = max(errors, key=errors.__getitem__)
        if errors[worst] > _BROKEN[self._precision]:
            raise ModelError(
                f'the exported graphs of {self.name} ({self._precision.value}) answer otherwise '
                f'than PyTorch: {worst} differs by {errors[worst]:.2g} of its size, at most '
                f'{_BROKEN[self._precision]:g} is allowed; nothing was written'
            )
