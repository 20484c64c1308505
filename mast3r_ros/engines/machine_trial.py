# SPDX-License-Identifier: Apache-2.0
"""Which engine and precision answer a model fastest on this processor: tried once and kept.

Only what holds the limits takes part: each candidate answers the model's own check pair, and its
answers are held against those of the network in float32. Int8 needs its recorded proof as well.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mast3r_ros.config import BackendType, MASt3RRuntimeConfig, Precision
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.results import FloatArray, InferenceResult
from mast3r_ros.core.views import Grid
from mast3r_ros.engines.network_engine import NetworkEngine
from mast3r_ros.engines.outcomes import Outcome, file_digest, library_version, machine_facts
from mast3r_ros.engines.self_check import differences, faults
from mast3r_ros.errors import Mast3rError
from mast3r_ros.models.check import Check
from mast3r_ros.models.description import DESCRIPTION_FILE
from mast3r_ros.models.folder import default_place
from mast3r_ros.models.proofs import LEAST_DESCRIPTOR_COSINE, MOST_POINT_ERROR

_log = logging.getLogger(__name__)

_PRECISIONS = (Precision.INT8, Precision.BF16, Precision.FP32)
_ROUNDS = 2  # after one that warms up
_LIBRARIES = ('openvino', 'onnxruntime')

Build = Callable[[BackendType, MASt3RRuntimeConfig], EngineInterface]


@dataclass(frozen=True)
class Setting:
    """An engine and a precision."""

    backend: BackendType
    precision: Precision

    def __str__(self) -> str:
        return f'{self.backend.value} {self.precision.value}'

    def of(self, config: MASt3RRuntimeConfig) -> MASt3RRuntimeConfig:
        """Return the settings with this engine and precision."""
        return config.replace(
            runtime=config.runtime.replace(backend=self.backend),
            model=config.model.replace(precision=self.precision),
        )


def fastest_setting(
    config: MASt3RRuntimeConfig, backends: Sequence[BackendType], build: Build
) -> Setting | None:
    """Return the fastest setting for the model of the settings, from the cache where it is known.

    :param backends: engines that run on the processor here.
    :return: None where nothing could be tried.
    """
    wanted = config.model.precision
    precisions = _PRECISIONS if wanted is Precision.AUTO else (wanted,)
    settings = [Setting(backend, each) for backend in backends for each in precisions]
    outcome = Outcome.of(config.cache_folder, 'trials', _facts(config, settings))
    known = _known(outcome)
    if known in settings:
        return known
    _log.warning(
        'auto tries %s once on this machine, which can take minutes; runtime.trial: false turns '
        'that off',
        ', '.join(map(str, settings)),
    )
    seconds: dict[Setting, float] = {}
    for setting in settings:
        try:
            with build(setting.backend, _for_trial(setting.of(config))) as engine:
                found = _try(engine, setting)
        except Mast3rError as error:
            _log.info('%s is left out: %s', setting, error)
            continue
        if found is not None:
            seconds[setting] = found
    if not seconds:
        return None
    best = min(seconds, key=seconds.__getitem__)
    figures = ', '.join(f'{setting} {value:.2f} s' for setting, value in seconds.items())
    _log.info('auto chose %s for this machine (%s a pair)', best, figures)
    outcome.write(
        {
            'backend': best.backend.value,
            'precision': best.precision.value,
            'seconds': {str(setting): round(value, 4) for setting, value in seconds.items()},
        }
    )
    return best


def _try(engine: EngineInterface, setting: Setting) -> float | None:
    """Return the seconds that a pair takes; None where the answers are not good enough."""
    if not isinstance(engine, NetworkEngine):
        return None
    folder = engine.folder
    is_int8 = setting.precision is Precision.INT8
    if is_int8 and not folder.description.is_proven_for(setting.backend.value):
        _log.info('%s is left out: no passed mast3r-validate on pictures is recorded', setting)
        return None
    check = Check.load(folder.path / folder.description.check)
    grids = [Grid(check.image_1), Grid(check.image_2)]
    if not folder.description.serves(*((grid.height, grid.width) for grid in grids)):
        _log.info('%s is not tried: its model lacks the size of its own pair', setting)
        return None
    answer = _answer(engine, grids)
    missed = [*_limits_missed(answer, check), *_faults(engine, answer, check)]
    if missed:
        _log.info('%s is left out: %s', setting, ', '.join(missed))
        return None
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        _answer(engine, grids)
        times.append(time.perf_counter() - start)
    return min(times)


def _answer(engine: NetworkEngine, grids: Sequence[Grid]) -> InferenceResult:
    one, two = engine.encode(grids)
    return engine.decode([(one, two, None)], engine.provides)[0]


def _limits_missed(result: InferenceResult, check: Check) -> Iterator[str]:
    """Yield, in words, which limits the answers to the check pair do not hold."""
    given = {name: getattr(result, name) for name in check.answers}
    found, exact = check.sample(given), check.answers
    errors = [_point_errors(found[name], exact[name]) for name in exact if 'pts3d' in name]
    cosines = [
        np.einsum('ijk,ijk->ij', found[name], exact[name])
        for name in ('desc_1', 'desc_2')
        if name in exact
    ]
    error = float(np.median(errors))
    if not error <= MOST_POINT_ERROR:
        yield f'median point error {error:.2g} is above {MOST_POINT_ERROR:g}'
    cosine = float(np.percentile(cosines, 1)) if cosines else 1.0
    if not cosine >= LEAST_DESCRIPTOR_COSINE:
        yield f'descriptor cosine p01 {cosine:.4f} is below {LEAST_DESCRIPTOR_COSINE:g}'


def _point_errors(found: FloatArray, exact: FloatArray) -> FloatArray:
    away = np.linalg.norm(found - exact, axis=-1)
    errors: FloatArray = away / np.maximum(np.linalg.norm(exact, axis=-1), 1e-12)
    return errors


def _facts(config: MASt3RRuntimeConfig, settings: Sequence[Setting]) -> list[object]:
    """Return all that the outcome depends on: machine, libraries, models, threads."""
    facts = [*machine_facts(), config.runtime.num_threads or usable_cores(), *map(str, settings)]
    facts += [f'{name} {library_version(name)}' for name in _LIBRARIES]
    return [*facts, *(file_digest(place) for place in _models(config))]


def _models(config: MASt3RRuntimeConfig) -> list[Path]:
    """Return the descriptions that the outcome depends on: recording a proof changes one."""
    if config.model.path is not None:
        return [config.model.path.expanduser() / DESCRIPTION_FILE]
    home = default_place(config)
    return [home / precision.value / DESCRIPTION_FILE for precision in _PRECISIONS]


def _faults(engine: NetworkEngine, answer: InferenceResult, check: Check) -> list[str]:
    """Return, in words, for what the check at load would refuse the engine."""
    return faults(differences(check, answer), Precision(engine.describe().precision))


def _for_trial(config: MASt3RRuntimeConfig) -> MASt3RRuntimeConfig:
    """Return the settings of an engine that may be left out at once.

    No check at load, for the trial looks at its own answers; and nothing is kept of what loses.
    """
    return config.replace(runtime=config.runtime.replace(self_check=False, compiled_cache=False))


def _known(outcome: Outcome) -> Setting | None:
    values = outcome.read()
    try:
        return Setting(BackendType(values['backend']), Precision(values['precision']))
    except (ValueError, KeyError, TypeError):
        return None
