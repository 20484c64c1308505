# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to a model folder: traced, written, checked, and only then in its place."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from mast3r_ros.config import Precision
from mast3r_ros.errors import InvalidInput, ModelError
from mast3r_ros.export.answers import Check
from mast3r_ros.export.calibration import PicturePairs
from mast3r_ros.export.graph_files import places_in
from mast3r_ros.export.landing import (
    added_files,
    finish_files,
    land,
    new_folder,
    unfinished_name,
    write_description,
)
from mast3r_ros.export.size_export import SizeExport, Target
from mast3r_ros.export.sizes import Pair, split_sizes
from mast3r_ros.export.source import ModelSource
from mast3r_ros.export.weight_store import WeightStore
from mast3r_ros.models.description import (
    CHECK_FILE,
    DESCRIPTION_FILE,
    WEIGHTS_FILE,
    ModelDescription,
    Weights,
    size_name,
)
from mast3r_ros.models.weights_sample import sample_digest

Tell = Callable[[float, str], None]
"""Is told how far the work is, from 0 to 1, and what comes next."""


@dataclass(frozen=True)
class ExportRequest:
    """What to export, and where to.

    :param pairs: shapes of view 1 and view 2; where they differ, both are exported as well.
    :param overwrite: replace what is there instead of adding sizes to it.
    :param pictures: pairs that int8 is calibrated with; without, its ranges are found anew for
        every picture.
    """

    source: ModelSource
    pairs: Sequence[Pair]
    precision: Precision
    folder: Path
    overwrite: bool = False
    pictures: PicturePairs = ()

    def __post_init__(self) -> None:
        if self.pictures and self.precision not in (Precision.INT8, Precision.INT8_FP16):
            raise InvalidInput(
                f'the precision is {self.precision.value}, and only int8 is calibrated; leave out '
                '--calibrate'
            )
        if self.precision is Precision.INT8_FP16 and not self.pictures:
            raise InvalidInput(
                f'{self.precision.value} has its ranges from pictures; give some with --calibrate'
            )


@dataclass
class ExportReport:
    """What was made.

    :param errors: of each size, the largest relative error of an answer against PyTorch in
        float32; None where ONNX Runtime is missing or cannot run that precision.
    :param there: sizes that the folder held already.
    """

    folder: Path
    errors: dict[str, float | None] = field(default_factory=dict)
    there: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    weights_bytes: int = 0


def export_model(
    request: ExportRequest, tell: Tell = lambda _fraction, _what: None
) -> ExportReport:
    """Export a model, or add sizes to one; nothing half-made is left, whatever happens.

    :raises ModelError: what is there is another model, or what was made does not hold.
    """
    report = ExportReport(request.folder, notes=list(request.source.notes))
    wanted = _with_single_sizes(request.pairs)
    present = _present(request)
    if present is not None:
        report.weights_bytes = present.weights.bytes
        report.there = [size_name(*pair) for pair in wanted if present.serves(*pair)]
        wanted = [pair for pair in wanted if not present.serves(*pair)]
        if wanted and request.pictures:
            raise ModelError(
                f'{request.folder} lacks {size_name(*wanted[0])}, and a calibrated model takes no '
                'more sizes, for each has weights of its own; give all sizes at once with '
                '--overwrite, or another --output'
            )
        if wanted:
            _add_sizes(request, present, wanted, report, tell)
    else:
        _make_folder(request, wanted, report, tell)
    return report


def _make_folder(
    request: ExportRequest, wanted: Sequence[Pair], report: ExportReport, tell: Tell
) -> None:
    _check_space(request, len(wanted))
    with (
        new_folder(request.folder) as folder,
        WeightStore(folder / WEIGHTS_FILE) as weights,
    ):
        check = _export_sizes(request, Target(folder, weights), wanted, report, tell)
        weights.sync()
        check.save(folder / CHECK_FILE)
        sample = sample_digest(weights.path)
        written = Weights(WEIGHTS_FILE, weights.size, weights.sha256(), sample)
        description = request.source.describe(request.precision, wanted, written)
        write_description(folder, description)
        land(folder, request.folder)
    report.weights_bytes = written.bytes


def _add_sizes(
    request: ExportRequest,
    present: ModelDescription,
    wanted: Sequence[Pair],
    report: ExportReport,
    tell: Tell,
) -> None:
    folder = request.folder
    with added_files(folder), _complete_weights(folder, present) as weights:
        target = Target(folder, weights, unfinished_name)
        _export_sizes(request, target, wanted, report, tell)
        finish_files(target.written)
        # Read anew: a comparison may have been recorded since.
        write_description(folder, _with_sizes(_described(folder), wanted))


def _export_sizes(
    request: ExportRequest,
    target: Target,
    wanted: Sequence[Pair],
    report: ExportReport,
    tell: Tell,
) -> Check:
    """Export every size and return the check made of the first."""
    checks = []
    for index, pair in enumerate(wanted):

        def tell_part(fraction: float, what: str, index: int = index) -> None:
            tell((index + fraction) / len(wanted), what)

        precision, pictures = request.precision, request.pictures
        size = SizeExport(request.source, precision, pair, target, tell_part, pictures)
        outcome = size.run()
        checks.append(outcome.check)
        report.errors[size.name] = outcome.largest_error
        report.notes += [note for note in outcome.notes if note not in report.notes]
    return checks[0]


def _check_space(request: ExportRequest, sizes: int) -> None:
    """Raise where the disk cannot hold the weights; better at once than after minutes."""
    place = next(path for path in request.folder.resolve().parents if path.exists())
    free, needed = shutil.disk_usage(place).free, request.source.weights_bytes(request.precision)
    if request.pictures:  # each size has its own, and those in float32 lie aside meanwhile
        needed = sizes * needed + request.source.weights_bytes(Precision.FP32)
    if free < needed:
        raise ModelError(
            f'{place} has {free / 1e9:.1f} GB free and the weights alone need '
            f'{needed / 1e9:.1f} GB; make room, or choose another --output'
        )


@contextmanager
def _complete_weights(folder: Path, present: ModelDescription) -> Iterator[WeightStore]:
    path = folder / present.weights.file
    if not path.is_file() or path.stat().st_size != present.weights.bytes:
        raise ModelError(
            f'{path} is missing or not of {present.weights.bytes} bytes as {DESCRIPTION_FILE} '
            'says; export anew with --overwrite'
        )
    with WeightStore(path, places_in(sorted(folder.glob('*.onnx')))) as weights:
        yield weights


def _present(request: ExportRequest) -> ModelDescription | None:
    """Return the description of what is there and can be added to.

    :raises ModelError: if it is somebody's other folder, which is never overwritten, or
        another model.
    """
    folder = request.folder
    if not folder.exists():
        return None
    if not (folder / DESCRIPTION_FILE).is_file():
        if folder.is_dir() and not any(folder.iterdir()):
            return None
        raise ModelError(
            f'{folder} exists and holds no {DESCRIPTION_FILE}, so it is no model and is left '
            'alone; choose another --output'
        )
    if request.overwrite:
        return None
    present = _described(folder)
    different = request.source.differences(present, request.precision)
    if different:
        raise ModelError(
            f'{folder} holds another model ({", ".join(different)}); choose another '
            '--output, or replace it with --overwrite'
        )
    return present


def _described(folder: Path) -> ModelDescription:
    path = folder / DESCRIPTION_FILE
    return ModelDescription.from_json(path.read_bytes(), str(path))


def _with_sizes(present: ModelDescription, wanted: Sequence[Pair]) -> ModelDescription:
    shapes, pairs = split_sizes(wanted)
    return replace(
        present,
        shapes=tuple(dict.fromkeys((*present.shapes, *shapes))),
        pairs=tuple(dict.fromkeys((*present.pairs, *pairs))),
    )


def _with_single_sizes(pairs: Sequence[Pair]) -> list[Pair]:
    """Return the pairs without doubles, after the single sizes that their encoders come from."""
    singles = [(shape, shape) for pair in pairs for shape in pair]
    return list(dict.fromkeys([*singles, *pairs]))
