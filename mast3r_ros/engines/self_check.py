# SPDX-License-Identifier: Apache-2.0
"""Whether an engine answers the model's own pair as the float32 network does.

It finds what is broken, such as a kernel that overflows, not what is a little less exact: that is
for ``mast3r-validate``, on real pictures.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mast3r_ros import __version__
from mast3r_ros.config import Precision
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.results import FloatArray, InferenceResult
from mast3r_ros.core.views import Grid
from mast3r_ros.engines.outcomes import Outcome, file_digest, machine_facts
from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.models.check import Answers, Check
from mast3r_ros.models.folder import ModelFolder

_log = logging.getLogger(__name__)

# Of a pixel's answer, as a share of its size: what rounding alone stays far below.
_MIDDLE = {
    Precision.FP32: 1e-3,
    Precision.FP16: 0.03,
    Precision.BF16: 0.1,
    Precision.INT8: 0.25,
    Precision.INT8_FP16: 0.25,
}
_WORST_TWENTIETH = 10.0  # times as much may the pixel differ that is worse than 19 of 20


@dataclass(frozen=True)
class Difference:
    """How far one answer lies from the reference: in the middle pixel and in a bad one.

    :param p95: in the pixel that is worse than 19 of 20.
    """

    p50: float
    p95: float


def check_once(engine: EngineInterface, folder: ModelFolder, cache_folder: Path) -> bool:
    """Check an engine unless the same passed on this machine before; return whether it was run.

    :raises EngineUnavailable: it answers wrongly; that is never kept.
    """
    outcome = Outcome.of(cache_folder, 'checks', _dependencies(engine, folder))
    if outcome.read().get('passed') is True:
        return False
    _log.info(
        'the engine answers the pair of its model, once on this machine; runtime.self_check '
        'turns that off'
    )
    found = check_engine(engine, folder)
    if found:
        info = engine.describe()
        differences = {name: asdict(item) for name, item in found.items()}
        outcome.write({'passed': True, **asdict(info), 'differences': differences})
    return True


def check_engine(
    engine: EngineInterface, folder: ModelFolder, *, replays: bool = False
) -> dict[str, Difference]:
    """Have an engine answer the pair of its model; return how far each answer is from float32's.

    :param replays: it answers a pair otherwise once it had one of its sizes: then the pair comes
        again, after another one, and the last answer counts as well.
    :raises EngineUnavailable: one is farther off than the precision explains.
    """
    model = folder.description
    check = Check.load(folder.path / model.check)
    (height_1, width_1), (height_2, width_2) = check.image_1.shape[:2], check.image_2.shape[:2]
    if not model.serves((height_1, width_1), (height_2, width_2)):
        _log.info('the model at %s lacks the size of its own pair, so it is not used', folder.path)
        return {}
    one, two = engine.encode([Grid(check.image_1), Grid(check.image_2)])
    result = engine.decode([(one, two, None)], engine.provides)[0]
    found = differences(check, result)
    info = engine.describe()
    precision = Precision(info.precision)  # a model may be run in a shorter format
    wrong = faults(found, precision)
    if replays and not wrong and model.serves((height_2, width_2), (height_1, width_1)):
        other = engine.decode([(two, one, None)], engine.provides)[0]
        found = differences(check, engine.decode([(one, two, None)], engine.provides)[0])
        wrong = [f'{fault}, when the pair comes again' for fault in faults(found, precision)]
        if np.array_equal(np.asarray(other.pts3d_1), np.asarray(result.pts3d_1)):
            wrong.append('all, when another pair comes: it has the answer of the one before')
    for item in (one, two):
        item.release()
    if wrong:
        raise EngineUnavailable(
            f'the {info.name} engine on {info.device} answers the pair of the model at '
            f'{folder.path} wrongly: it differs from float32 in {"; ".join(wrong)}; update its '
            'library and the driver, or choose another precision or backend'
        )
    return found


def differences(check: Check, result: InferenceResult) -> dict[str, Difference]:
    """Compare the answers that both have; what is not finite differs infinitely."""
    found = {name: getattr(result, name) for name in check.answers}
    given: Answers = {name: values for name, values in found.items() if values is not None}
    return {
        name: _difference(values, check.answers[name])
        for name, values in check.sample(given).items()
    }


def faults(found: Mapping[str, Difference], precision: Precision) -> list[str]:
    """Return, in words, which answers are farther off than the precision explains."""
    middle = _MIDDLE[precision]
    return [
        f'{name} by {100 * item.p50:.2g} % in the middle pixel and {100 * item.p95:.2g} % in the '
        f'worst twentieth ({100 * middle:.2g} % and {100 * middle * _WORST_TWENTIETH:.2g} % are '
        f'allowed in {precision.value})'
        for name, item in found.items()
        if not (item.p50 <= middle and item.p95 <= middle * _WORST_TWENTIETH)
    ]


def _dependencies(engine: EngineInterface, folder: ModelFolder) -> list[object]:
    """Return what decides how an engine answers: machine, libraries, weights, graphs, pair."""
    info, model = engine.describe(), folder.description
    graphs = sorted(folder.path.glob('*.onnx'))
    files = [file_digest(path) for path in (*graphs, folder.path / model.check)]
    facts = [info.name, info.device, info.precision, *sorted(info.versions.items())]
    return [__version__, *machine_facts(), *facts, model.weights.sha256, *files]


def _difference(values: FloatArray, reference: FloatArray) -> Difference:
    pixels = int(np.prod(reference.shape[:2]))
    exact = reference.astype(np.float64).reshape(pixels, -1)
    with np.errstate(all='ignore'):
        apart = np.linalg.norm(values.astype(np.float64).reshape(exact.shape) - exact, axis=1)
        share = apart / np.maximum(np.linalg.norm(exact, axis=1), 1e-12)
    share[~np.isfinite(share)] = np.inf
    p50, p95 = np.percentile(share, (50, 95), method='higher')
    return Difference(float(p50), float(p95))
