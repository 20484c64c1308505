# SPDX-License-Identifier: Apache-2.0
"""A model on disk, checked when it is opened, and where the models of the settings lie."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from mast3r_ros.config import MASt3RRuntimeConfig, Precision
from mast3r_ros.errors import EngineUnavailable, ModelError, ModelNotFound
from mast3r_ros.models.description import (
    DESCRIPTION_FILE,
    ENCODER,
    ModelDescription,
    Shape,
    graph_file,
)
from mast3r_ros.models.getting import how_to_export_anew, how_to_get
from mast3r_ros.models.weights_sample import sample_digest

_log = logging.getLogger(__name__)
_NEED_PROOF = {Precision.INT8, Precision.INT8_FP16}
_LARGEST_DESCRIPTION = 16 << 20  # bytes; real ones have some thousand


@dataclass(frozen=True)
class ModelFolder:
    """A folder that ``mast3r-export`` wrote.

    :param opened_weights: which file the weights were when the folder was opened.
    """

    path: Path
    description: ModelDescription
    opened_weights: tuple[int, ...] = field(default=(), compare=False)

    @classmethod
    def open(cls, path: str | Path) -> ModelFolder:
        """Read the description and check that all it names is there, at its size.

        :raises ModelNotFound: there is no such folder, or it holds no model.
        :raises ModelError: the model is damaged or incomplete.
        """
        folder = Path(path).expanduser()
        model = cls(folder, _read_description(folder))
        model = replace(model, opened_weights=_identity(model.weights_path))
        model._check_files()
        model._check_weights()
        return model

    def check_still_there(self) -> None:
        """Raise if another model took this one's place since: its stages do not fit these.

        :raises ModelError: it was replaced, or is gone.
        """
        if _identity(self.weights_path) != self.opened_weights:
            raise ModelError(
                f'the model at {self.path} was replaced while it was in use; restart what uses it'
            )

    @property
    def encoder_shapes(self) -> tuple[Shape, ...]:
        """Every network input that a single view can have."""
        model = self.description
        mixed = [shape for pair in model.pairs for shape in pair]
        return tuple(dict.fromkeys([*model.shapes, *mixed]))

    @property
    def weights_path(self) -> Path:
        """The one file of weights."""
        return self.path / self.description.weights.file

    def stage_path(self, stage: str, shape_1: Shape, shape_2: Shape | None = None) -> Path:
        """Return the graph of a stage; the encoder takes one view, so one shape."""
        return self.path / graph_file(stage, shape_1, shape_2)

    def sizes_in_words(self) -> str:
        """Return the sizes as users write them: width x height, mixed pairs with a plus."""
        model = self.description
        words = [f'{width}x{height}' for height, width in model.shapes]
        words += [f'{one[1]}x{one[0]}+{two[1]}x{two[0]}' for one, two in model.pairs]
        return ', '.join(words) or 'no size'

    def _check_files(self) -> None:
        weights = self.description.weights
        graphs = [graph_file(ENCODER, shape) for shape in self.encoder_shapes]
        same = [(shape, shape) for shape in self.description.shapes]
        for stage in self.description.stages:
            if stage != ENCODER:
                sizes = [*same, *self.description.pairs]
                graphs += [graph_file(stage, one, two) for one, two in sizes]
        if not graphs:
            raise ModelError(
                f'the model at {self.path} has no size; '
                + how_to_export_anew('export one', self.description, self.path)
            )
        for name in (weights.file, *graphs):
            if not (self.path / name).is_file():
                raise ModelError(
                    f'the model at {self.path} lacks {name}; copy the folder whole, or '
                    + how_to_export_anew('export it anew', self.description, self.path)
                )

    def _check_weights(self) -> None:
        weights, path = self.description.weights, self.weights_path
        wrong = ''
        try:
            found = path.stat().st_size
            if found != weights.bytes:
                wrong = f'has {found} bytes and should have {weights.bytes}'
            elif weights.sample and sample_digest(path) != weights.sample:
                wrong = f'holds other weights than those that {DESCRIPTION_FILE} describes'
        except OSError as error:
            raise ModelError(f'cannot read {path}: {error.strerror}') from error
        if wrong:
            raise ModelError(
                f'{path} {wrong}; copy the folder anew, or '
                + how_to_export_anew('export it', self.description, self.path)
            )


def find_model(
    config: MASt3RRuntimeConfig, engine: str, precisions: Sequence[Precision]
) -> ModelFolder:
    """Open the model that the settings name, for an engine that runs some precisions.

    :param engine: name under which comparisons with this engine are recorded.
    :param precisions: what the engine runs here, best first; the first that is on this machine
        is taken where the settings say auto.
    :raises ModelNotFound: it is not on this machine; the sentence says how to get it.
    :raises EngineUnavailable: it is here in precisions alone that the engine does not take.
    """
    wanted = config.model.precision
    if config.model.path is not None:
        model = ModelFolder.open(config.model.path)
        _check_precision(model, wanted, engine, precisions)
        return model
    home = default_place(config)
    if wanted is not Precision.AUTO:
        model = _open_or_explain(home / wanted.value, config)
        _check_precision(model, wanted, engine, precisions)
        return model
    for precision in precisions:
        if (home / precision.value / DESCRIPTION_FILE).is_file():
            model = ModelFolder.open(home / precision.value)
            if precision not in _NEED_PROOF or model.description.is_proven_for(engine):
                return model
            _log.info(
                'the int8 model at %s is passed over: no comparison on real pictures with %s is '
                'recorded as passed; mast3r-validate makes one',
                model.path,
                engine,
            )
    present = _precisions_at(home)
    if not present:
        raise ModelNotFound(_not_found(home, config))
    proof = ' (int8 only after a passed mast3r-validate)' if _NEED_PROOF & {*precisions} else ''
    raise EngineUnavailable(
        f'the model {config.model.variant.value} is at {home} as {_listed(present)}, and the '
        f'{engine} engine takes {_listed(precisions)} here{proof}; choose another engine or '
        'export another precision'
    )


def default_place(config: MASt3RRuntimeConfig) -> Path:
    """Return the folder with one folder for each precision of the settings' variant."""
    return config.cache_folder / 'models' / config.model.variant.value


def models_in(cache_folder: Path) -> list[ModelFolder]:
    """Return the models that lie at their default places, the damaged ones left out."""
    found = []
    for path in sorted((cache_folder / 'models').glob(f'*/*/{DESCRIPTION_FILE}')):
        try:
            found.append(ModelFolder.open(path.parent))
        except (ModelError, ModelNotFound) as error:
            _log.warning('%s', error)
    return found


def _identity(path: Path) -> tuple[int, ...]:
    """Return what tells a file from one that takes its name later; nothing where it is gone."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def _read_description(folder: Path) -> ModelDescription:
    path = folder / DESCRIPTION_FILE
    if not folder.is_dir():
        raise ModelNotFound(
            f'there is no model folder {folder}; give one that mast3r-export wrote, or make it '
            'with mast3r-download and mast3r-export'
        )
    if not path.is_file():
        raise ModelNotFound(
            f'{folder} is no model folder: it has no {DESCRIPTION_FILE}; give one that '
            'mast3r-export wrote'
        )
    try:
        if path.stat().st_size > _LARGEST_DESCRIPTION:
            raise ModelError(f'{path} is far too large; export the model anew')
        content = path.read_bytes()
    except OSError as error:
        raise ModelError(f'cannot read {path}: {error.strerror}') from error
    return ModelDescription.from_json(content, str(path))


def _open_or_explain(folder: Path, config: MASt3RRuntimeConfig) -> ModelFolder:
    if not (folder / DESCRIPTION_FILE).is_file():
        others = _precisions_at(folder.parent)
        beside = f' (beside it as {_listed(others)})' if others else ''
        raise ModelNotFound(_not_found(folder, config, beside))
    return ModelFolder.open(folder)


def _precisions_at(home: Path) -> list[Precision]:
    """Return the precisions in which a variant lies at its default place."""
    return [each for each in Precision if (home / each.value / DESCRIPTION_FILE).is_file()]


def _listed(precisions: Sequence[Precision]) -> str:
    return ', '.join(precision.value for precision in precisions)


def _not_found(place: Path, config: MASt3RRuntimeConfig, beside: str = '') -> str:
    model = config.model
    return f'the model {model.variant.value} is not at {place}{beside}; {how_to_get(config)}'


def _check_precision(
    model: ModelFolder, wanted: Precision, engine: str, precisions: Sequence[Precision]
) -> None:
    has = model.description.precision
    if wanted not in (Precision.AUTO, has):
        raise ModelError(
            f'model.precision is {wanted.value} but the model at {model.path} is {has.value}; '
            'give auto, or another model.path'
        )
    if has not in precisions:
        raise EngineUnavailable(
            f'the model at {model.path} is {has.value}, and the {engine} engine runs '
            f'{_listed(precisions)} here; choose another engine or export another precision'
        )
